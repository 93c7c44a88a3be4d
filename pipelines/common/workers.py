"""Decoding in processes beside this one: a file on which a decoder crashes or hangs costs that file, not the run.

The worker processes live as long as this one, and each decodes file after file. The kernel's own timer ends one that
takes too long for a file, even within a library that never comes back; then it is replaced. It refuses them more memory
than they may have (`pipelines.common.limits`), whatever a file asks for.
"""

import logging
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cache, partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import LifoQueue
from typing import Any, TypeVar

from pipelines.common.errors import UnreadableFile
from pipelines.common.limits import MB, Limits, TooLarge, apply_limits, out_of_memory, too_much_memory
from pipelines.common.processes import cores

LIMIT_S = 60.0
WORKERS = 4
TOO_SLOW = "decoding it took longer than"
START = "import sys; sys.path[:] = sys.argv[6:]; from pipelines.common.workers import work; work(*sys.argv[1:6])"
# The workers are what runs side by side; each thread of a library takes address space before it does anything. Memory
# of a frame's arrays is kept for the next frame's: to get it anew takes the system longer than to decode.
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ZARR_THREADING__MAX_WORKERS"), "1"),
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * MB),
    "MALLOC_TRIM_THRESHOLD_": str(128 * MB),
}
SECRET = re.compile("PASSWORD|SECRET|TOKEN|AUTH|KEY|UR[IL]")  # in a variable's name: a decoder needs no login
log = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why a file couldn't be decoded; ``passing`` if it may be another time, with the same content."""

    reason: str
    passing: bool


class Decoders:
    """A few worker processes.

    Parameters
    ----------
    count : int
        How many; each is started when it is first needed.
    limit_s : float
        Longest time for one file, seconds.
    limits : Limits
        On what a file may take otherwise.
    """

    def __init__(self, count: int, limit_s: float = LIMIT_S, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._limit_s, self._limits = limit_s, limits
        self._threads = ThreadPoolExecutor(count, "decoders")
        self._idle: LifoQueue[_Worker | None] = LifoQueue()  # one that runs before one to be started
        for _ in range(count):
            self._idle.put(None)

    def map(self, function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Result | Failure]:
        """Call ``function`` with each of ``tasks`` in the workers, side by side; results come in order.

        The function is of a module; what it raises but `UnreadableFile` is raised here. All results are kept until they
        are asked for.
        """
        return self._threads.map(partial(self.call, function), tasks)

    def call(self, function: Callable[..., Result], task: tuple[Any, ...]) -> Result | Failure:
        """Call ``function`` with the arguments ``task`` in a worker."""
        worker = self._idle.get()
        try:
            if worker is None or not worker.alive:
                worker = _Worker(self._limit_s, self._limits)
            return worker.ask(function, task)
        finally:
            self._idle.put(worker)


class _Worker:
    def __init__(self, limit_s: float, limits: Limits) -> None:
        self._limit_s = limit_s
        numbers = [str(number) for number in (limit_s, *astuple(limits))]
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno()), *numbers, *sys.path],
                env={name: value for name, value in os.environ.items() if not SECRET.search(name)} | ENVIRONMENT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__ and sys.__stderr__.fileno(),
                start_new_session=True,  # Ctrl-C is for the run; a worker ends when its run has ended
            )
        try:
            if not self._connection.recv():
                _warn_once("this system doesn't limit the memory of a process: a small file can take all there is")
        except EOFError:
            raise RuntimeError("a worker process for decoding doesn't start") from None

    def __del__(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, function: Callable[..., Result], task: tuple[Any, ...]) -> Result | Failure:
        try:
            self._connection.send((Path.cwd(), function, task))  # paths may be relative
            answer = self._connection.recv()
            if isinstance(answer, Exception):  # not of the file: a mistake in the program, which must be heard of
                raise answer
            return answer
        except (EOFError, ConnectionError):
            status = self._process.wait()
        if status == -signal.SIGALRM:
            return Failure(f"{TOO_SLOW} {self._limit_s:g} s", passing=True)
        if status > 0:
            raise RuntimeError(f"a worker process for decoding ended with status {status}")
        return Failure(f"it crashed its decoder ({signal.Signals(-status).name})", passing=True)


@cache
def _warn_once(words: str) -> None:
    log.warning("%s", words)


def work(descriptor: str, limit_s: str, *limits: str) -> None:
    """Be a worker: answer what comes through the connection with this file descriptor until it is closed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    warnings.simplefilter("ignore")  # a library's, once for each of a million files; what matters is a reason
    connection: Connection[Any, Any] = Connection(int(descriptor))
    with suppress(EOFError, ConnectionError):
        connection.send(apply_limits(Limits(*map(int, limits))))
        while True:
            folder, function, task = connection.recv()
            os.chdir(folder)
            # Again after that: a function that is slow for good reasons finds there for how long to set it anew.
            signal.setitimer(signal.ITIMER_REAL, float(limit_s), float(limit_s))
            answer = _answer(function, task)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send_bytes(answer)


def _answer(function: Callable[..., Result], task: tuple[Any, ...]) -> bytes:
    """Return what the connection takes: the result, a `Failure`, or an exception."""
    answer: Result | Failure | Exception
    try:
        answer = function(*task)
    except UnreadableFile as error:
        if out_of_memory(error):
            answer = Failure(too_much_memory(), passing=True)
        else:
            # An error with a number is the file system's, not the content's; with other limits a file isn't too large.
            cause = error.__cause__
            answer = Failure(error.reason, isinstance(cause, TooLarge) or getattr(cause, "errno", None) is not None)
    except Exception as error:
        answer = error
    try:
        return pickle.dumps(answer)
    except MemoryError:
        return pickle.dumps(Failure(too_much_memory(), passing=True))
    except Exception as error:  # whatever its objects raise
        return pickle.dumps(RuntimeError(f"{type(answer).__name__} of a worker can't be sent: {error}"))


_cores = cores()


def at_most(count: int) -> None:
    """Let this process have no more decoders of one kind than this: others on its machine have theirs."""
    global _cores
    _cores = min(count, cores())


def decoders(limits: Limits = Limits(), most: int | None = None) -> Decoders:  # noqa: B008 - frozen
    """Return this process's decoders of these limits, one for each core it has, and ``most`` (`WORKERS`) at most."""
    return _decoders_of(os.getpid(), limits, min(most or WORKERS, _cores))


@cache
def _decoders_of(process: int, limits: Limits, count: int) -> Decoders:  # a fork's own: two can't talk with one worker
    return Decoders(count, limits=limits)


def guarded(function: Callable[..., Result], path: Path, *arguments: Any, limits: Limits = Limits()) -> Result:  # noqa: B008
    """Call ``function(path, *arguments)`` in a worker process of these limits.

    Raises
    ------
    UnreadableFile
        As the function does, and if it crashes or hangs.
    """
    # Absolute: a worker stays in the folder where this process was when it started it.
    answer = decoders(limits).call(function, (path.absolute(), *arguments))
    if isinstance(answer, Failure):
        raise UnreadableFile(path, answer.reason)
    return answer
