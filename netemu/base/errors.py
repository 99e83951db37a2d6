"""What can go wrong, decided where it is raised: rejected, transient, or (everything else) a bug.

An error is one clear line; its hint says what to do about it.
"""


class NetemuError(Exception):
    """Something netemu itself can name. `hint` says what to do; empty when the message says it all."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Rejected(NetemuError):
    """The user's: bad input, a missing privilege, tool or feature. Nothing was changed; the CLI exits 2."""


class Transient(NetemuError):
    """May well succeed later without anybody's doing: a loop retries it with back-off."""
