"""The memory that networks take, measured: ``python -m pipelines.nowcast.methods.memory_use FOLDER ...``.

Prints for each model's folder the most bytes a pixel on a CPU, beyond the process itself, of

forecast
    a forecast on grids of `SHAPES` that run whole;
moving
    what is done with all of a grid in tiles: its motion is found, and fields of each lead time matched and moved;
members
    drawing them from probabilities on disk, of a model that gives some.
"""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from pipelines.common.provenance import sha256
from pipelines.nowcast.methods.members import draw_by_lead
from pipelines.nowcast.methods.tiles import OnDisk
from pipelines.radar.frame import Rain

SHAPES = ((128, 128), (256, 256))  # pixels
PEAK = Path("/proc/self/clear_refs")
TALL = (3072, 96)  # rows and columns of what is done band by band
_known: dict[str, dict[str, float]] = {}  # by content


def measure(folders: Iterable[Path]) -> list[dict[str, float]]:
    """Return the bytes a pixel, by what takes them, of models in folders, in order: each is measured once.

    In a process of its own, whose larger arrays go back to the system at once, as a large grid's do. Nothing where the
    system doesn't tell a process's peak, as macOS doesn't.
    """
    if not PEAK.exists():
        return [{} for _ in folders]
    contents = [(sha256(folder), folder.resolve()) for folder in folders]
    if new := {content: str(folder) for content, folder in contents if content not in _known}:
        command = [sys.executable, "-m", __name__, *new.values()]
        python_path = os.pathsep.join(filter(None, sys.path))
        environment = os.environ | {"PYTHONPATH": python_path, "MALLOC_MMAP_THRESHOLD_": "65536"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        _known.update(zip(new, json.loads(done.stdout.splitlines()[-1]), strict=True))
    return [_known[content] for content, _ in contents]


def _held(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def _peak(make: Callable[[], object], shape: tuple[int, int]) -> float:
    """Return the most bytes a pixel that something takes on a grid, over what was there before."""
    PEAK.write_text("5", encoding="ascii")  # the peak is from here on
    before = _held("VmRSS")
    make()
    return (_held("VmHWM") - before) / (shape[0] * shape[1])


def _showers(shape: tuple[int, int], frames: int) -> Rain:
    rows, columns = np.indices(shape)
    showers = [9 * np.sin(rows / 9 + t) * np.sin(columns / 7) for t in range(frames)]
    return np.maximum(showers, 0).astype(np.float32)


def _measure(folder: Path) -> dict[str, float]:
    from pipelines.nowcast.methods.interface import load_forecaster
    from pipelines.nowcast.methods.network import NetworkForecaster

    forecaster, description = load_forecaster(folder, "cpu")
    leads = description.network.leads if description.network else None
    assert isinstance(forecaster, NetworkForecaster) and leads is not None
    of_shape = {shape: _showers(shape, description.inputs) for shape in ((64, 64), *SHAPES, TALL)}
    forecaster(of_shape[64, 64], leads)  # imports what it needs
    taken = {"forecast": max(_peak(partial(forecaster, of_shape[shape], leads), shape) for shape in SHAPES)}
    large, tile = of_shape[TALL], (TALL[0] // 6, TALL[1])

    def move() -> None:
        on_disk = OnDisk((leads, *TALL), tile)
        for lead in range(leads):
            on_disk[lead] = large[-1]
        forecaster.finish(on_disk, forecaster.motion(large), large[-1])

    taken["moving"] = _peak(move, TALL)
    if rates := description.rates:
        probabilities = OnDisk((2, len(rates), *TALL), tile, probabilities=True)
        for lead, rate in product(range(2), range(len(rates))):
            probabilities[lead, rate] = (large[-1] > 0) / np.float32(rate + 1)

        def draw() -> None:
            for member in draw_by_lead(probabilities.array(), rates, large, count=1, seed=1):
                deque(member, maxlen=0)

        draw()  # imports what it needs
        taken["members"] = _peak(draw, TALL)
    return taken


if __name__ == "__main__":
    print(json.dumps([_measure(Path(folder)) for folder in sys.argv[1:]]))
