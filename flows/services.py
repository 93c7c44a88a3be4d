"""Processes of one machine that belong together: started, watched, started again, and stopped in order."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipelines.common.errors import UserError

HOST = "127.0.0.1"
START_S, STOP_S = 300.0, 20.0  # longest waits
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # before what has ended is started again; twice as long each time
STEADY_S = 300.0  # what has run for so long is none that can't be started
MARK = "SCS_SERVED_FROM"  # the folder, in the environment of all that is started, and of what that starts
RUN = "PREFECT__FLOW_RUN_ID"  # Prefect's own mark of the process of a flow run


@dataclass
class Service:
    """A Python module that runs as a process, ``python -m MODULE``."""

    module: tuple[str, ...]
    shown: bool
    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)
    ends: int = 0  # in a row
    again: float | None = None  # when it is to be started again


class Services:
    """Services of one folder.

    Parameters
    ----------
    logs : Path
        Folder for what they print: ``NAME.log``.
    environment : dict of str

    Attributes
    ----------
    stopping : threading.Event
        To be set by whoever wants all to stop.
    """

    def __init__(self, logs: Path, environment: dict[str, str]) -> None:
        self.logs, self.environment = logs, environment | {MARK: str(logs.resolve())}
        self.running: dict[str, Service] = {}
        self.stopping = threading.Event()

    def start(self, name: str, *module: str, shown: bool = False) -> None:
        """Start ``python -m MODULE``; what it prints goes to its log file, or to ours if it is to be ``shown``."""
        self.running[name] = Service(module, shown, self._process(name, module, shown))

    def _process(self, name: str, module: tuple[str, ...], shown: bool) -> subprocess.Popen[bytes]:
        with (self.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *module],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=None if shown else log,
                stderr=None if shown else log,
                # A session of its own: Ctrl-C is for us alone, and what it starts can be found by its group.
                start_new_session=True,
            )

    def take_over(self) -> int:
        """End what servers of this folder left that were killed, but for flow runs; return how many processes.

        A flow run goes on: what it has begun is its to end.
        """
        left = processes_of(self.environment[MARK], flow_runs=False)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in psutil.wait_procs(left, STOP_S)[1]:
            process.kill()
        return len(left)

    def restart_ended(self) -> dict[str, str]:
        """Start again, each after a pause that grows, what has ended; return what there is to tell, by its name."""
        news, now = {}, time.monotonic()
        for name, one in self.running.items():
            if one.again is None and (status := one.process.poll()) is not None:
                one.ends = 1 if now - one.began > STEADY_S else one.ends + 1
                pause = min(PAUSE_S * 2 ** (one.ends - 1), LONGEST_PAUSE_S)
                one.again = now + pause
                where = "" if one.shown else f"; see {self.logs / name}.log"
                news[name] = f"{name} ended with status {status}, and is started again in {pause:g} s{where}"
            elif one.again is not None and now >= one.again:
                self._end_rest_of(one)
                one.process, one.began, one.again = self._process(name, one.module, one.shown), now, None
        return news

    def _end_rest_of(self, one: Service) -> None:
        """End what a process that was killed has left, such as the one that holds its port; not its flow runs."""
        for process in processes_of(self.environment[MARK], flow_runs=False):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getpgid(process.pid) == one.process.pid:
                    process.kill()

    def wait_for(self, name: str, url: str) -> None:
        """Wait until ``url`` answers, or until we are to stop.

        Raises
        ------
        UserError
            If the service ends instead, or doesn't answer in five minutes.
        """
        deadline = time.monotonic() + START_S
        while not self.stopping.wait(0.2):
            self.check()
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise UserError(f"{name}: no answer from {url}; see {self.logs / name}.log") from None

    def check(self) -> None:
        """Raise a `UserError` if one has ended."""
        for name, one in self.running.items():
            if one.process.poll() is not None:
                raise UserError(f"{name} ended with status {one.process.returncode}; see {self.logs / name}.log")

    def stop(self, name: str) -> bool:
        """Stop one and what it has started, by force if it must be; tell whether it was there."""
        service = self.running.pop(name, None)
        if service is None:
            return False
        process = service.process
        for number in (signal.SIGINT, signal.SIGTERM):
            if process.poll() is None:
                process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"{name} stopped", flush=True)
        return True

    def end_flow_runs(self) -> None:
        """End, by force, flow runs that are left, since their worker was killed."""
        for process in processes_of(self.environment[MARK], flow_runs=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def environments() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    """Yield this user's processes with the environment that each was started in."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # another user's, or it has just ended
            yield process, process.environ()


def processes_of(folder: str, *, flow_runs: bool) -> list[psutil.Process]:
    """Return what services of a folder have started and is still there: processes of flow runs, or the others."""
    return [
        process
        for process, environment in environments()
        if environment.get(MARK) == folder and (RUN in environment) == flow_runs
    ]


def port_number(given: str, option: str, variable: str) -> int:
    """Return the port that was given by an option or a variable of the environment; raises UserError if it is none."""
    if not re.fullmatch("[1-9][0-9]{0,4}", given) or int(given) >= 1 << 16:
        raise UserError(f"{option} or {variable}: {given!r} is no port, which is a number from 1 to 65535")
    return int(given)


def check_port(port: int, option: str) -> None:
    """Raise a `UserError` if a port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}; choose another with {option}") from None
