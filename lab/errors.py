"""What goes wrong in the lab, said so that the next step is clear."""


class LabError(Exception):
    """A fault with the command that helps further.

    :param message: what failed and why
    :param advice: what to do next, usually a command
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice
