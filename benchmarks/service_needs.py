"""What ``make serve`` takes: memory, CPU and disk a day, for a number of domains of simulated radar.

``python benchmarks/service_needs.py FOLDER [DOMAINS] [CYCLES]``: serves FOLDER (an empty one) with so many domains of
256 × 256 pixels, the champion being extrapolation. After a minute at rest each domain gets an hour of frames and a
forecast, all at once, and then each its verification, CYCLES times over. A day is 24 forecasts and 96 verifications a
domain, and the rest at rest. Disk is before anything is removed by its age.
"""

import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from claims import claim, say_where, status
from serving import register, run_all, serving, write_params

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from archive import moving_cells  # noqa: E402 - the tests' rain
from inbox_file import write_file  # noqa: E402

from flows.services import processes_of  # noqa: E402

SIZE, STEP = 256, timedelta(minutes=5)
REST_S = 60
MB = 1e6


class Use:
    """Memory and CPU of all that a folder's services have started, watched in a thread."""

    def __init__(self, mark: str) -> None:
        self.mark, self.peak, self.processes = mark, 0.0, 0
        self._cpu: dict[tuple[int, float], float] = {}
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(1.0):
            self.look()

    def look(self) -> tuple[float, float]:
        """Return the memory now (proportional set size), bytes, and the CPU seconds of all that ran until now."""
        memory, count = 0.0, 0
        for process in processes_of(self.mark, flow_runs=False) + processes_of(self.mark, flow_runs=True):
            try:
                memory += process.memory_full_info().pss
                of = process.cpu_times()
                self._cpu[process.pid, process.create_time()] = of.user + of.system
                count += 1
            except psutil.Error:
                continue  # it has ended
        self.peak, self.processes = max(self.peak, memory), max(self.processes, count)
        return memory, sum(self._cpu.values())

    def stop(self) -> None:
        """Watch no longer."""
        self._ended.set()


def disk(folder: Path, *parts: str) -> int:
    """Bytes on disk below a folder's parts."""
    found = [path.stat() for part in parts for path in (folder / part).rglob("*") if path.is_file()]
    return sum(512 * one.st_blocks for one in found)


def main(folder: Path, count: int, cycles: int = 2) -> None:
    """Measure, and print."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    names = [f"domain{number}" for number in range(count)]
    write_params(folder, {name: {} for name in names})
    register(folder)
    with serving(folder) as api:
        use = Use(str((folder / "data/prefect").resolve()))
        time.sleep(15)  # until what starts has started
        _, before = use.look()
        time.sleep(REST_S)
        at_rest, after = use.look()
        rest_cpu = (after - before) / REST_S
        print(f"at rest: {at_rest / MB:.0f} MB, {100 * rest_cpu:.1f} % of a processor", flush=True)
        parts = "data/out", "data/store", "data/inbox", "data/prefect", "mlflow"
        spent: dict[str, list[tuple[float, float]]] = {"forecast": [], "verify": []}
        sizes = [disk(folder, *parts)]
        start = datetime.now(UTC).replace(second=0, microsecond=0, tzinfo=None) - timedelta(hours=3)
        frames = moving_cells(start.isoformat(), 12 * (cycles + 2), shape=(SIZE, SIZE))
        for cycle in range(cycles + 1):
            for name in names:
                for frame in frames[12 * cycle : 12 * (cycle + 1)]:
                    write_file(folder / "data/inbox" / name, frame)
            for flow, of_flow in spent.items():
                clock, (_, cpu) = time.monotonic(), use.look()
                for state in run_all(api, flow, names).values():
                    print(f"{flow}: {state['name']}: {state['message']}", flush=True)
                seconds = time.monotonic() - clock
                of_flow.append((seconds, use.look()[1] - cpu - rest_cpu * seconds))
                print(f"{flow}: {seconds:.0f} s, {of_flow[-1][1]:.1f} s of CPU, {use.peak / MB:.0f} MB", flush=True)
            sizes.append(disk(folder, *parts))
        use.stop()
    say_where()
    # The first cycle makes stores and imports that no later one does.
    forecast_cpu, verify_cpu = (sum(cpu for _, cpu in spent[flow][1:]) / cycles / count for flow in spent)
    a_cycle = (sizes[-1] - sizes[1]) / cycles
    print(f"{count} domain(s): CPU of a forecast {forecast_cpu:.1f} s, of a verification {verify_cpu:.1f} s,")
    print(f"at rest {100 * rest_cpu:.1f} % of a processor; {use.processes} processes at most")
    of_day = 86400 * rest_cpu + count * (24 * forecast_cpu + 96 * verify_cpu)
    claim(f"memory at rest, {count} domain(s), MB", at_rest / MB, "<=", 1500)
    claim(f"memory at most, {count} domain(s), MB", use.peak / MB, "<=", 4000)
    claim(f"share of two processors, {count} domain(s), %", 100 * of_day / (2 * 86400), "<=", 50)
    claim(f"disk a day, {count} domain(s), MB", 24 * a_cycle / MB, "<=", 500 * count)
    sys.exit(status())


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), *map(int, sys.argv[2:4] or [1]))
