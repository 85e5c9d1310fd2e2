"""The error that every command of the lab reports."""


class LabError(Exception):
    """An error, with the command to run next.

    Args:
        message: What failed, and why.
        advice: What to do next, usually a command.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice
