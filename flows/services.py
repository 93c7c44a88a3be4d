"""Processes of one machine that belong together: started, watched, and stopped in order."""

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
from contextlib import suppress
from pathlib import Path

from pipelines.common.errors import UserError

HOST = "127.0.0.1"
START_S, STOP_S = 300.0, 20.0  # longest waits


class Services:
    """Python modules that run as processes.

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
        self.logs, self.environment = logs, environment
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = threading.Event()

    def start(self, name: str, *module: str, shown: bool = False) -> None:
        """Start ``python -m MODULE``; what it prints goes to its log file, or to ours if it is to be ``shown``."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", *module],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=None if shown else log,
                stderr=None if shown else log,
                # A session of its own: Ctrl-C is for us alone, and what it starts can be found by its group.
                start_new_session=True,
            )

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
        for name, process in self.running.items():
            if process.poll() is not None:
                raise UserError(f"{name} ended with status {process.returncode}; see {self.logs / name}.log")

    def stop(self, name: str) -> bool:
        """Stop one and what it has started, by force if it must be; tell whether it was there."""
        process = self.running.pop(name, None)
        if process is None:
            return False
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
