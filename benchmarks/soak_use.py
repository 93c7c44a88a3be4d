"""What a soak takes: seconds and memory of each hour, and each day the sizes of what has a retention."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from claims import claim

from pipelines.params.operation import Domain

EARLY, LATE = slice(50, 120), slice(-70, None)  # hours that are compared
FEWEST_DAYS = 12  # after a third of them all that has a retention is as large as it becomes


@dataclass
class Use:
    """Of each hour seconds by the wall and of processors, and memory; of each day sizes."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    sizes: list[dict[str, float]] = field(default_factory=list)

    def judge(self) -> None:
        """Print it, and the claims."""
        third = len(self.sizes) // 3
        for what in self.sizes[0] if len(self.sizes) >= FEWEST_DAYS else ():
            middle, last = (max(one[what] for one in part) for part in (self.sizes[third:-third], self.sizes[-third:]))
            print(f"{what}: at most {middle:,.0f} in the middle third, {last:,.0f} in the last")
            claim(f"{what}, last third / middle third", last / middle, "<=", 1.1)
        wall, cpu = np.median(self.wall), np.median(self.cpu)
        print(f"{len(self.wall)} hours, median: {wall:.2f} s by the wall, {cpu:.2f} s of processors")
        claim("all hours, minutes", sum(self.wall) / 60, "<=", 60)
        if len(self.wall) < EARLY.stop - LATE.start:
            return
        for what, of in (("seconds of processors", self.cpu), ("seconds", self.wall), ("memory", self.memory)):
            early, late = float(np.median(of[EARLY])), float(np.median(of[LATE]))
            print(f"{what}: {early:,.2f} in hours {EARLY.start} to {EARLY.stop}, {late:,.2f} in the last {-LATE.start}")
            claim(f"{what}, early and late, difference / early", abs(late - early) / early, "<=", 0.1)


def processor_seconds() -> float:
    """Seconds of this process, and of those that decode for it; not of Prefect's server."""
    me = psutil.Process()
    ours = [me, *(one for one in me.children() if "uvicorn" not in one.cmdline())]
    return float(sum(sum(one.cpu_times()[:2]) for one in ours))


def memory() -> float:
    """Bytes that this process has in memory."""
    return float(psutil.Process().memory_info().rss)


def sizes_of(domains: Iterable[Domain], database: Path) -> dict[str, float]:
    """Bytes of all that has a retention, and the number of Prefect's runs."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        (runs,) = connection.execute("SELECT count(*) FROM flow_run").fetchone()
    each = list(domains)
    return {
        "live stores": sum(_bytes(one.store) for one in each),
        "forecasts": sum(_bytes(one.out, but="ledger") for one in each),
        "ledgers": sum(_bytes(one.out / "ledger") for one in each),
        "inbox-done": sum(_bytes(one.inbox.with_name(f"{one.name}-done")) for one in each),
        "Prefect's database": float(database.stat().st_size),
        "Prefect's runs": runs,
    }


def _bytes(folder: Path, but: str = "") -> float:
    total = 0.0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() and but not in path.relative_to(folder).parts else 0
    return total
