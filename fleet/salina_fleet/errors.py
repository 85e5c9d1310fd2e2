"""The error that ends a runner of this project."""

from __future__ import annotations

from salt.exceptions import CommandExecutionError, NotImplemented


class RunnerError(CommandExecutionError, NotImplemented):  # type: ignore[misc] # Salt has no types
    """A runner cannot do what it was asked to; the message says why, and what to do next.

    `salt-run` ends with exit code 1 and prints the message. It would print a traceback above the
    message of any exception that is not Salt's `NotImplemented`.
    """
