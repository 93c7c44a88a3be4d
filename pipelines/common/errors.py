"""Errors that a user can act on: one line that names the file or key, and the reason."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.common.text import printable


class UserError(Exception):
    """Something the user gave can't be used. The message is one line and is all that the user sees."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(message))  # names and reasons in it are of whoever wrote the file


class UnreadableFile(UserError):  # noqa: N818 - a condition of a file, not of the program
    """A source file that can't become a frame.

    Parameters
    ----------
    path : str or Path
        The file.
    reason : str
        Why, in a few words; it becomes the reason in the quarantine table.
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path, self.reason = path, printable(" ".join(str(reason).split()))
        super().__init__(f"{path}: {self.reason}")


@contextmanager
def as_unreadable(path: object) -> Iterator[None]:
    """Turn all that goes wrong with a file into `UnreadableFile`."""
    try:
        yield
    except UserError:  # one of those, or a parameter that can't be used
        raise
    except OSError as error:
        raise UnreadableFile(path, error.strerror or str(error)) from error
    # What a decoder raises on bytes that someone else broke can't be listed; the file is bad whatever it is.
    except Exception as error:
        reason = str(error.args[0]) if error.args and not isinstance(error, ValueError) else str(error)
        raise UnreadableFile(path, reason or type(error).__name__) from error


class Unavailable(UserError):  # noqa: N818 - a condition of a service or a lock, not of the program
    """Something that may be there in a minute isn't: a lock that another holds, a server that doesn't answer."""


@contextmanager
def as_user_error(what: str) -> Iterator[None]:
    """Turn whatever is raised into a `UserError`: nothing that a model does may keep the next method from its turn."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = in_short(error)
        raise UserError(f"{what}: {type(error).__name__}: {reason}") from error


def in_short(error: Exception) -> str:
    """Return what a library's error says, in one line of 200 characters at most."""
    return printable(" ".join(str(error).split()))[:200]


def one_line(error: Exception) -> str:
    """Return what an error says, in one line; where it is neither a user's mistake nor the system's, its kind too."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return printable(f"{error.filename}: {error.strerror}")
    if isinstance(error, UserError | OSError):
        return printable(" ".join(str(error).split()))
    return f"{type(error).__name__}: {in_short(error)}"
