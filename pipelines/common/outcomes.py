"""What becomes of each file of an ingestion: as an earlier run found out, or else decoded now, side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from pipelines.common.executor import Executor
from pipelines.common.ingest_cache import IngestCache
from pipelines.common.limits import Limits
from pipelines.common.progress import progress_bars
from pipelines.common.workers import Failure

Record = TypeVar("Record")


class Task(NamedTuple):
    """A file, or part of one, and the arguments with which it is decoded."""

    path: Path
    part: str
    arguments: tuple[Any, ...]


def find_outcomes(
    tasks: Sequence[Task],
    decode: Callable[..., Record],
    cache: IngestCache[Record],
    is_whole: Callable[[Record], bool],
    limits: Limits,
    what: str,
    count: Callable[[Record], int],
    executor: Executor,
) -> list[Record | str]:
    """Return what becomes of each file, or why it is of no use.

    Parameters
    ----------
    tasks : sequence of Task
    decode : callable
        Of a module; it is called with a task's arguments in a process of the executor's.
    cache : IngestCache
        What is found out is kept there, but what may be otherwise another time.
    is_whole : callable
        Whether all that a record of the cache names is still there.
    limits : Limits
        Of a worker.
    what : str
        For the progress bar: the files and what is counted of them, as in ``videos: frames``.
    count : callable
        How many of these a record has.
    executor : Executor
    """
    files, counted = what.split(": ")
    known: list[Record | str | None] = [cache.get(task.path, task.part) for task in tasks]
    known = [one if one is None or isinstance(one, str) or is_whole(one) else None for one in known]
    new = [i for i, one in enumerate(known) if one is None]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[good]}} {counted}, {{task.fields[bad]}} bad"),
        TimeRemainingColumn(),
    )
    with progress_bars(*columns) as progress:
        good = bad = 0
        bar = progress.add_task(f"decode {files}", total=len(new), good=0, bad=0)
        for i, answer in zip(new, executor.decode(decode, [tasks[i].arguments for i in new], limits), strict=True):
            outcome = answer.reason if isinstance(answer, Failure) else answer
            if not (isinstance(answer, Failure) and answer.passing):
                cache.put(tasks[i].path, outcome, tasks[i].part)
            known[i] = outcome
            good += 0 if isinstance(outcome, str) else count(outcome)
            bad += isinstance(outcome, str)
            progress.update(bar, advance=1, good=good, bad=bad)
    return [one for one in known if one is not None]
