"""How far a loop is, for who watches."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, ProgressColumn

Item = TypeVar("Item")


def progress_bars(*columns: ProgressColumn) -> Progress:
    """Return bars of some columns, rich's own by default: on a terminal alone, and never in a command's output."""
    console = Console(stderr=True)
    return Progress(
        *(columns or Progress.get_default_columns()), console=console, transient=True, disable=not console.is_terminal
    )


def track(items: Iterable[Item], what: str, total: float | None = None) -> Iterator[Item]:
    """Yield items, and show how far they are.

    Parameters
    ----------
    what : str
        What is done.
    total : float, optional
        How many there are, where they don't say.
    """
    with progress_bars() as bars:
        yield from bars.track(items, total=total, description=what)
