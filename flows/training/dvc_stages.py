"""DVC's stages, as a flow runs them: in DVC's own order, each by ``dvc repro`` in a process of its own."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro  # type: ignore[import-untyped]

from flows.training import supervise
from pipelines.common.errors import Unavailable, UserError
from pipelines.common.stage import TRY_AGAIN
from pipelines.common.text import printable

BUSY_S = 20.0  # from one look at a stage that another `dvc repro` is at to the next
UNREACHABLE = re.compile(rf"exited with {TRY_AGAIN}$|API request to \S+ failed|Connection(Refused|Reset)Error")


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml, or a file that says what lies in a folder of data: to run it is to take up what is new.

    Parameters
    ----------
    name : str
        As `dvc repro` takes it: ``train@scs``, ``archive/knmi.dvc``.
    upstream : frozenset of str
        Stages that it waits for.
    metrics : tuple of Path
        Its metrics files.
    """

    name: str
    upstream: frozenset[str]
    metrics: tuple[Path, ...]

    def read_metrics(self) -> dict[str, float]:
        """Read the numbers of its metrics files that are there."""
        numbers: dict[str, float] = {}
        for path in self.metrics:
            with suppress(OSError, ValueError):
                content = json.loads(path.read_text(encoding="utf-8"))
                numbers |= {key: value for key, value in content.items() if isinstance(value, int | float)}
        return numbers


def plan(targets: Iterable[str] = ()) -> list[Stage]:
    """Return the stages that ``dvc repro TARGETS`` goes through in the working directory, in its order.

    Raises
    ------
    UserError
        If DVC can't read them, or knows no such target.
    """
    try:
        with Repo(".") as repo:
            graph = get_active_graph(repo.index.graph)
            steps = plan_repro(graph, collect_stages(repo, list(targets) or ["dvc.yaml"]))
            return [
                Stage(
                    step.addressing,
                    frozenset(upstream.addressing for upstream in graph.successors(step)),
                    tuple(Path(out.fs_path) for out in step.outs if out.is_metric),
                )
                for step in steps
            ]
    except DvcException as error:
        raise UserError(f"dvc.yaml: {' '.join(str(error).split())}") from None


class Processes:
    """Processes that run side by side, and end with us, however we end."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    def run(
        self, command: list[str], environment: dict[str, str], told: Callable[[str], None], lines: list[str]
    ) -> int:
        """Run a command, tell of each line that it prints and keep it in ``lines``; return its exit status.

        Raises
        ------
        UserError
            If all are to stop.
        """
        with self._lock:
            if self.stopping.is_set():
                raise UserError("stopped")
            process = subprocess.Popen(
                [sys.executable, supervise.__file__, *command],
                env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,  # which ends a line at \r, too: a progress bar's
                errors="replace",
                start_new_session=True,  # a group to stop as a whole; Ctrl-C is for us alone
            )
            self._running.add(process)
        try:
            assert process.stdout is not None and process.stdin is not None
            with process.stdout, process.stdin:
                for line in process.stdout:
                    if line := printable(line.rstrip()):
                        lines.append(line)
                        told(line)
            return process.wait()
        finally:
            self._running.discard(process)

    def stop(self) -> None:
        """Stop all with what they have started, by force if it must be."""
        with self._lock:
            self.stopping.set()
            running = list(self._running)
        for process in running:
            assert process.stdin is not None
            process.stdin.close()
        for process in running:
            process.wait()


@dataclass(frozen=True)
class StageResult:
    """What came of a stage: whether it ran or was up to date, and the lines that it printed."""

    ran: bool
    lines: list[str]


def reproduce(
    stage: str, processes: Processes, environment: dict[str, str], told: Callable[[str], None], *, remote: bool = False
) -> StageResult:
    """Bring one stage up to date by ``dvc repro``, which shares cache and lock with every other one.

    DVC frees its lock while a stage's command runs, and locks only what that reads and writes. A stage that another
    `dvc repro` is at is waited for.

    Parameters
    ----------
    environment : dict of str
        Of the command, beside our own.
    told : callable
        Takes each line that it prints.
    remote : bool
        Whether to pull what is missing from DVC's default remote, and to push to it what was made.

    Raises
    ------
    Unavailable
        If a service couldn't be reached; another try may help.
    UserError
        If the stage failed; names it and its last line.
    """
    dvc = [sys.executable, "-m", "dvc", "--wait-for-lock"]
    single = [*dvc, "repro", "--single-item", *(["--pull"] if remote else []), stage]
    while True:
        lines: list[str] = []
        status = processes.run(single, environment, told, lines)
        if status == 0:
            break
        if not any("is busy, it is being blocked by" in line for line in lines):
            raise failure(stage, lines, status)
        told(f"{stage}: another dvc is at it; looking again in {BUSY_S:g} s")
        processes.stopping.wait(BUSY_S)
    ran = any(line.startswith(("Running stage ", "Verifying data sources ")) for line in lines)
    if remote and ran:
        pushed: list[str] = []
        status = processes.run([*dvc, "push", "--run-cache", stage], environment, told, pushed)
        if status:
            raise Unavailable(f"{stage}: dvc push: {pushed[-1] if pushed else f'exited with {status}'}")
    return StageResult(ran, lines)


def failure(stage: str, lines: list[str], status: int) -> UserError:
    """Return in one line why a stage failed: its own last line, or DVC's where the stage has printed none."""
    of_dvc = next((line for line in reversed(lines) if line.startswith("ERROR:")), f"dvc exited with {status}")
    printed: list[str] = []
    for line in lines:
        if line.startswith(("> ", "Running stage ")):
            printed.clear()
        elif not line.startswith(("ERROR:", "WARNING:")):
            printed.append(line)
    began = any(line.startswith("> ") for line in lines)
    last = printed[-1] if began and printed else of_dvc.removeprefix("ERROR: ")
    kind = Unavailable if UNREACHABLE.search(of_dvc) or UNREACHABLE.search(last) else UserError
    return kind(f"{stage}: {last.strip()}")
