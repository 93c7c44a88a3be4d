"""What the transfer asks of a place that files come from, and how such a place fails."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Absent(Exception):  # noqa: N818 - a condition of an archive, not of the program
    """There is no such file."""


class Refused(Exception):  # noqa: N818
    """The file can't be had, and another try wouldn't help; the message says why."""


class Passing(Exception):  # noqa: N818
    """Something that another try may find otherwise; ``retry_after`` seconds from now where the provider says so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Changed(Passing):
    """The file is another than it was: what is here of it is of no use."""


class Part(NamedTuple):
    """The beginning of a file that is here already: its bytes, and the size and version of the file that it is of."""

    bytes: int
    size: int
    version: str


@dataclass
class Opened:
    """A file that is being read from a place.

    Parameters
    ----------
    offset : int
        Where in the file `chunks` begin: after the part that is here, or 0.
    size : int or None
        Of the whole file, bytes.
    version : str
        What changes when the file does; empty where the place says nothing, and then no part of it can be kept.
    chunks : iterator of bytes
        Raise `Passing` where they break off.
    hashes : mapping of str to str
        Hex digests that the place tells of the whole file, by algorithm.
    """

    offset: int
    size: int | None
    version: str
    chunks: Iterator[bytes]
    hashes: Mapping[str, str] = field(default_factory=dict)


class Remote(Protocol):
    """A place that files come from. All methods raise `Absent`, `Refused` and `Passing`."""

    def open(self, url: str, part: Part | None) -> AbstractContextManager[Opened]:
        """Open a file, behind the part that is here if it is still the same file."""

    def list(self, folder: str) -> dict[str, str]:
        """Return the files in a folder, by name, each with its URL."""
