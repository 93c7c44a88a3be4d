"""How a benchmark says what it measured: a line a claim, and an exit status of 1 if any is short."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

_short: list[str] = []


def has_bf16() -> bool:
    """Return whether the processor computes in bf16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def say_where() -> None:
    """Print versions, hardware and load."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = next((line.split(": ")[1] for line in cpuinfo.splitlines() if line.startswith("model name")), "unknown")
    print(f"python {platform.python_version()}, torch {torch.__version__}, {platform.platform()}")
    cores, threads = len(os.sched_getaffinity(0)), torch.get_num_threads()
    print(f"{name}, {cores} cores, {threads} threads, bf16 in hardware: {has_bf16()}")
    print(f"load average before: {os.getloadavg()[0]:.1f} (ratios mean little on a busy machine)", flush=True)


def best_seconds(
    sides: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the shortest time of each side, after a run of each that doesn't count."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    for _ in range(rounds):
        for name, run in sides.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: min(taken) for name, taken in times.items()}


def claim(name: str, measured: float, op: str, wanted: float) -> None:
    """Print one claim: ``op`` is >= or <=."""
    ok = measured >= wanted if op == ">=" else measured <= wanted
    if not ok:
        _short.append(name)
    print(f"claim {name}: {measured:.3f} (wanted {op} {wanted:g}) {'ok' if ok else 'SHORT'}", flush=True)


def status() -> int:
    """Exit status: 1 if any claim was short."""
    return int(bool(_short))
