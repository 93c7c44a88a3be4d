"""Where work on shards is done: by this machine, or by the workers of a Dask cluster.

A stage maps a function over its shards, and gets the same results in the same order whoever does it. What decodes files
from outside does so in a process of its own in both cases, see `pipelines.common.workers`.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import starmap
from typing import Any, Protocol, TypeVar

from pipelines.common import workers as processes
from pipelines.common.limits import Limits
from pipelines.common.workers import Failure

Result = TypeVar("Result")
Promise = TypeVar("Promise")
Task = tuple[Any, ...]


class Executor(Protocol):
    """What maps functions of modules, not of ``__main__``, over tasks, whose paths are absolute."""

    def decode(
        self, function: Callable[..., Result], tasks: Iterable[Task], limits: Limits, batch: int = 1
    ) -> Iterator[Result | Failure]:
        """Call a function that decodes files with each of ``tasks``, guarded; results come in order.

        A cluster's worker gets ``batch`` of them at once: where each takes less than it takes to send it, give many.
        """

    def map(self, function: Callable[..., Result], tasks: Iterable[Task], at_once: int = 1) -> Iterator[Result]:
        """Call ``function`` with each of ``tasks``; results come in order, and few more than are asked for are made.

        Here, ``at_once`` threads do it, on a cluster as many as its workers have.
        """

    def share(self, value: Result) -> Result:
        """Return what stands for a value in many tasks: it is sent to each worker once, and each thread has its own.

        Functions in it needn't be of modules.
        """


class Local:
    """Work in this process, and in those that it has for decoding."""

    def decode(
        self, function: Callable[..., Result], tasks: Iterable[Task], limits: Limits, batch: int = 1
    ) -> Iterator[Result | Failure]:
        """See `Executor`."""
        return processes.decoders(limits, most=os.cpu_count()).map(function, tasks)

    def map(self, function: Callable[..., Result], tasks: Iterable[Task], at_once: int = 1) -> Iterator[Result]:
        """See `Executor`."""
        if at_once == 1:
            yield from starmap(function, tasks)
            return
        with ThreadPoolExecutor(at_once) as threads:
            yield from in_order((threads.submit(function, *task) for task in tasks), Future.result, at_once)

    def share(self, value: Result) -> Result:
        """See `Executor`."""
        return value


LOCAL = Local()


@contextmanager
def open_executor(kind: str, address: str | None, workers: int | None, threads: int | None) -> Iterator[Executor]:
    """Have an executor while the block runs; see `pipelines.params.executor`.

    Raises
    ------
    Unavailable
        If there is no cluster at the address, or not as many workers.
    """
    if kind == "local":
        if workers:
            processes.at_most(workers)
        yield LOCAL
        return
    from pipelines.common.dask_executor import open_cluster  # here: it takes a second to import

    with open_cluster(address, workers, threads) as cluster:
        yield cluster


def in_order(promises: Iterable[Promise], result: Callable[[Promise], Result], at_once: int) -> Iterator[Result]:
    """Yield the results of promises in their order, of which ``at_once`` are made ahead."""
    waiting: deque[Promise] = deque()
    for promise in promises:
        waiting.append(promise)
        if len(waiting) > at_once:
            yield result(waiting.popleft())
    yield from map(result, waiting)
