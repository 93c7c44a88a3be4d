"""Progress of a loop, for who watches."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

Item = TypeVar("Item")


def track(items: Iterable[Item], what: str, total: float | None = None) -> Iterator[Item]:
    """Yield items, and show how far they are; on a terminal alone, and never where what a command prints is read.

    Parameters
    ----------
    what : str
        What is done.
    total : float, optional
        How many there are, where they don't say.
    """
    console = Console(stderr=True)
    yield from rich_track(items, what, total=total, console=console, transient=True, disable=not console.is_terminal)
