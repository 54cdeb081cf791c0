"""The one exception that ends a command: a line for the person at the terminal, and an exit code."""

USAGE = 125  # what docker exits with when the command line makes no sense


class Failure(Exception):
    """What was tried and why it did not go, in one line; ``code`` becomes the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
