"""A month of hourly forecasts of two domains in simulated time, with faults at random; a day through ``make serve``.

``python benchmarks/soak.py FOLDER [--hours 720] [--size 256] [--seed 1] [--served 24]``: FOLDER is made, and gets all.

Two radars of SIZE × SIZE pixels send a frame each half hour, most of the time; what goes wrong is drawn from the seed:
`soak_inbox.FAULTS`, and once a full disk, where the system lets us mount one. Each hour the flows ``forecast`` and
``verify`` of both domains run in this process, once a day ``archive``, with a real Prefect server, live store, ledger
and MLflow store. The clock that flows are given is simulated, and so are the ages by which ``archive`` and Prefect
remove what is old (`soak_time`). Ctrl-C ends it after the hour, and what ran is judged.

Then SERVED hours more, in a folder below, go through ``make serve``: each run is a process of its worker.
"""

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import typer
from claims import claim, say_where, status
from serving import register, run_all, serving, write_params
from soak_checks import AWAY, FULL, Checks
from soak_disk import Disk, mount_for_ourselves
from soak_inbox import HOUR, START, Inboxes, fault_of
from soak_time import DAYS, Clock, make_older, prefect_server, utc
from soak_use import Use, memory, processor_seconds, sizes_of

from flows.services import processes_of
from pipelines.common.progress import track
from pipelines.params.read import read_params

DOMAINS = ("first", "second")
KEPT = {"keep_days": DAYS, "keep_done_days": DAYS, "keep_forecast_days": 2, "skill_days": 1, "keep_ledger_days": 3}
USUAL = KEPT | {"minutes": 60, "silent_minutes": 90, "policy": {"max_age_minutes": 30}}
MINUTE = np.timedelta64(60, "s")
SHIFTS = {"clock ahead": HOUR, "clock behind": -HOUR}
CLOSED = "http://127.0.0.1:9"  # nothing listens there
AFTER = 6  # hours until all can be verified


def set_up(folder: Path, **changes: Any) -> None:
    """Make a folder the working directory: params.yaml with both domains, the second with changes, and a champion."""
    os.chdir(folder)
    write_params(folder, {DOMAINS[0]: USUAL, DOMAINS[1]: USUAL | changes})
    register(folder)


def clock_of(hour: int, fault: str | None) -> np.datetime64:
    """Return by which time the flows run, a minute after the hour or as a fault has it."""
    return START + hour * HOUR + MINUTE + SHIFTS.get(fault or "", 0 * MINUTE)


def note(flow: str, domain: str, hour: int, fault: str | None, message: str) -> None:
    """Add a line to runs.txt."""
    with Path("runs.txt").open("a", encoding="utf-8") as file:
        file.write(f"{START + hour * HOUR} {flow} {domain} [{fault or ''}] {message}\n")


def run_here(
    hours: int, size: int, seed: int, database: Path, disk: Disk, ended: threading.Event
) -> tuple[Checks, Use]:
    """Run the flows of so many hours, unless ``ended``, in this process, and of some in which all is verified."""
    from flows.archive import archive
    from flows.forecast import forecast
    from flows.verify import verify

    domains, use, drawn = read_params().domains, Use(), Counter[str]()
    checks = Checks(Inboxes(Path("data/inbox"), size))

    def run(flow: Any, name: str, hour: int, fault: str | None) -> str:
        began, state = time.perf_counter(), flow(name, utc(clock_of(hour, fault)), return_state=True)
        note(flow.name, name, hour, fault, f"{state.name} in {time.perf_counter() - began:.1f} s: {state.message}")
        return str(state.message)

    with patch("flows.archive.datetime", Clock):
        for hour in track(range(1, hours + 1), "hours"):
            if ended.is_set():
                break
            began, cpu = time.perf_counter(), processor_seconds()
            Clock.begin_hour()
            for number, name in enumerate(DOMAINS):
                fault = FULL if disk.there and (hour, number) == (hours // 3, 1) else fault_of(seed, hour, number)
                drawn[fault or "none"] += 1
                checks.inboxes.fill(name, hour, fault)
                away = {"MLFLOW_TRACKING_URI": CLOSED} if fault == AWAY else {}
                with patch.dict(os.environ, away), disk.full() if fault == FULL else nullcontext():
                    checks.after_forecast(domains[name], hour, fault, run(forecast, name, hour, fault))
                    checks.after_verify(domains[name], hour, fault, run(verify, name, hour, fault))
            use.wall.append(time.perf_counter() - began)
            use.cpu.append(processor_seconds() - cpu)
            use.memory.append(memory())
            if hour % 24 == 7:
                for name in DOMAINS:
                    checks.after_archive(domains[name], hour, run(archive, name, hour, None))
                make_older(database)
                use.sizes.append(sizes_of(domains.values(), database))
        for name in DOMAINS:
            checks.after_verify(domains[name], hour, None, run(verify, name, hour + AFTER, None))
    print(f"faults: {dict(drawn)}; runs: {Path('runs.txt').absolute()}", flush=True)
    return checks, use


def run_served(hours: int, size: int, seed: int, folder: Path) -> Checks:
    """Run the flows of so many hours by ``make serve``; its MLflow server is killed where MLflow is to be away."""
    domains, checks = read_params().domains, Checks(Inboxes(Path("data/inbox"), size))

    def run(flow: str, names: Sequence[str], hour: int, fault: str | None) -> dict[str, str]:
        states = run_all(api, flow, names, now=utc(clock_of(hour, fault)).isoformat())
        messages = {name: state["message"] or state["name"] for name, state in states.items()}
        for name, message in messages.items():
            note(flow, name, hour, fault, f"{states[name]['name']}: {message}")
        return messages

    with serving(folder) as api:
        for hour in track(range(1, hours + 1), "hours through make serve"):
            faults = {name: fault_of(seed + 1, hour, number) for number, name in enumerate(DOMAINS)}
            for name, fault in faults.items():
                checks.inboxes.fill(name, hour, fault)
            if AWAY in faults.values():  # of one server
                kill_mlflow(folder)
                faults = {name: fault or AWAY for name, fault in faults.items()}
            for fault in dict.fromkeys(faults.values()):  # all at once but where clocks differ
                names = [name for name in DOMAINS if faults[name] == fault]
                for name, message in run("forecast", names, hour, fault).items():
                    checks.after_forecast(domains[name], hour, fault, message)
            for name, message in run("verify", DOMAINS, hour, None).items():
                checks.after_verify(domains[name], hour, AWAY if AWAY in faults.values() else None, message)
        for name, message in run("verify", DOMAINS, hours + AFTER, None).items():
            checks.after_verify(domains[name], hours, None, message)
    return checks


def kill_mlflow(folder: Path) -> None:
    """Kill MLflow's server of a folder; ``make serve`` starts it again."""
    for process in processes_of(str((folder / "data/prefect").resolve()), flow_runs=False):
        if "mlflow" in process.cmdline():
            process.kill()


def main(
    folder: Path,
    hours: Annotated[int, typer.Option(min=3)] = 720,
    size: Annotated[int, typer.Option(min=32)] = 256,
    seed: int = 1,
    served: int = 24,
) -> None:
    """Soak, and judge."""
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        os.environ.pop(name, None)
    os.environ["TZ"] = "Europe/Zurich"  # whose clocks go back on the 18th day
    time.tzset()
    ended = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say_where()
    folder = folder.absolute()
    (folder / "served").mkdir(parents=True)
    disk = Disk(folder / "data/disk")
    on_disk = {key: f"data/disk/{key}" for key in ("store", "out")}
    set_up(folder, leave_out=["maps"], **on_disk)
    with prefect_server(folder) as database:
        checks, use = run_here(hours, size, seed, database, disk, ended)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not use.wall:
        sys.exit("ended in the first hour: nothing to judge")
    checks.judge("")
    claim("forecasts published, of all", len(checks.issued) / (2 * len(use.wall)), ">=", 0.8)
    use.judge()
    if served:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            del os.environ[name]
        set_up(folder / "served")
        run_served(served, size, seed, folder / "served").judge("served: ")
    sys.exit(status())


if __name__ == "__main__":
    mount_for_ourselves()
    typer.run(main)
