"""The workers of a Dask cluster as an executor: one that runs already, or one of this machine for the run.

A worker that is lost costs what it was at: Dask gives that to another. Workers have to see the same files under the
same paths, and to run the same code, which each is asked for.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import chain, islice
from tempfile import TemporaryDirectory
from threading import local
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import cloudpickle
import dask
from distributed import Client, LocalCluster, Security, get_worker
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from pipelines.common import workers
from pipelines.common.errors import Unavailable, UserError, in_short
from pipelines.common.executor import Task, in_order
from pipelines.common.limits import Limits
from pipelines.common.processes import cores
from pipelines.common.provenance import code_sha256
from pipelines.common.workers import Failure

Result = TypeVar("Result")

LIBRARIES = (
    "av", "h5py", "netCDF4", "numcodecs", "numpy", "opencv-python-headless", "pillow", "pyproj", "pysteps", "rasterio",
    "shapely", "torch", "xarray", "zarr",
)  # fmt: skip
AHEAD = 3  # tasks that a thread has waiting
WAIT_S = 60.0  # for a scheduler and its workers
LOCAL = "127.0.0.1"
# What a worker asks itself for the dashboard 150 times a second takes it a fiftieth of a core, from which it decodes.
SELDOM = {"distributed.worker.profile.interval": "100ms", "distributed.admin.tick.interval": "200ms"}

_thread = local()


class Shared(NamedTuple):
    """A value as it is sent."""

    content: bytes


class DaskExecutor:
    """An executor, as in `pipelines.common.executor`, of a client of a cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def decode(
        self, function: Callable[..., Result], tasks: Iterable[Task], limits: Limits, batch: int = 1
    ) -> Iterator[Result | Failure]:
        """Decode in processes beside the workers, which a decoder that crashes doesn't end."""
        each = iter(tasks)
        batches = iter(lambda: tuple(islice(each, batch)), ())
        return chain.from_iterable(self._results(function, _decode, batches, limits))

    def map(self, function: Callable[..., Result], tasks: Iterable[Task], at_once: int = 1) -> Iterator[Result]:
        """Call ``function`` in the workers' threads."""
        return self._results(function, _call, tasks)

    def share(self, value: Result) -> Result:
        """Send a value to the workers, for tasks."""
        # As a task's result: what is scattered is lost with the worker that has it.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "10GB"}):
            shared: Any = self._client.submit(Shared, cloudpickle.dumps(value), pure=False)
        return shared

    def _results(
        self, function: Callable[..., Any], call: Callable[..., Any], tasks: Iterable[Task], *more: Any
    ) -> Iterator[Any]:
        code = _code()
        name = function.__name__
        threads = sum(self._client.nthreads().values())
        futures = (
            self._client.submit(call, code, function, task, *more, key=f"{name}-{uuid4()}", pure=False)
            for task in tasks
        )
        return in_order(futures, _result, AHEAD * max(threads, 1))


@contextmanager
def open_cluster(address: str | None, count: int | None, threads: int | None) -> Iterator[DaskExecutor]:
    """Have a cluster's workers while the block runs; print where its dashboard is.

    Parameters
    ----------
    address : str or None
        Of a scheduler; None starts one, whose port takes nobody else's tasks.
    count : int or None
        Workers to start, or to wait for.
    threads : int or None
        Of each worker that is started.

    Raises
    ------
    Unavailable
        If there is no scheduler, or not as many workers within a minute.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)  # a worker that ends is no news of ours
    with ExitStack() as stack:
        security = Security()
        if address is None:
            security = Security.temporary()
            count = count or cores()
            stack.enter_context(dask.config.set(SELDOM))
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=threads or 1,
                host=LOCAL,
                dashboard_address=f"{LOCAL}:0",
                security=security,
                local_directory=stack.enter_context(TemporaryDirectory(prefix="scs-dask-")),
                silence_logs=logging.ERROR,
            )
            address = stack.enter_context(cluster).scheduler_address
        try:
            client = stack.enter_context(Client(address, security=security, timeout=WAIT_S, set_as_default=False))
            client.wait_for_workers(count or 1, timeout=WAIT_S)
        except (OSError, TypeError, ValueError) as error:  # of these two: an address, and certificates for it
            raise Unavailable(f"executor: no {count or 1} Dask worker(s) at {address}: {in_short(error)}") from None
        of_each = client.nthreads()
        print(
            f"Dask at {address}: {len(of_each)} workers with {sum(of_each.values())} threads; "
            f"dashboard {client.dashboard_link}",
            flush=True,
        )
        yield DaskExecutor(client)


def _result(future: Any) -> Any:
    try:
        return future.result()
    except KilledWorker as error:
        raise UserError(f"executor: {in_short(error)}") from None
    except (FutureCancelledError, CommClosedError) as error:
        raise Unavailable(f"executor: the Dask cluster is gone: {in_short(error)}") from None


def _call(code: str, function: Callable[..., Result], task: Task) -> Result:
    """Call a function in a worker's thread, with as many decoders beside it as the worker has threads."""
    _check(code)
    return function(*(_value(one) if isinstance(one, Shared) else one for one in task))


def _value(shared: Shared) -> Any:
    """Return this thread's own of a shared value."""
    if getattr(_thread, "of", None) is not shared:
        _thread.of, _thread.value = shared, cloudpickle.loads(shared.content)
    return _thread.value


def _decode(
    code: str, function: Callable[..., Result], tasks: tuple[Task, ...], limits: Limits
) -> list[Result | Failure]:
    _check(code)
    return list(workers.decoders(limits, most=os.cpu_count()).map(function, tasks))


def _check(code: str) -> None:
    workers.at_most(get_worker().state.nthreads)
    dask.config.set(scheduler="threads")  # of pysteps' own graphs: this cluster's would wait for the thread that asks
    if _code() != code:
        raise UserError(f"executor: the worker on {socket.gethostname()} runs other code, or libraries, than this")


@cache
def _code() -> str:
    """Return what code this process runs, all of it: what is imported stays, whatever the files are at a later task."""
    return code_sha256(libraries=LIBRARIES)
