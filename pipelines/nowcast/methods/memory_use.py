"""The memory that networks take, measured: ``python -m pipelines.nowcast.methods.memory_use FOLDER ...``.

Prints for each model's folder the most bytes a pixel, beyond the process itself, of forecasts on grids of `SIDES`, on a
CPU: what it takes in all on a grid that runs whole.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipelines.common.provenance import sha256

SIDES = (128, 256)  # pixels
_known: dict[str, float] = {}  # by content


def measure(folders: Iterable[Path]) -> list[float]:
    """Return the bytes a pixel of models in folders, in their order, each measured once, in a process of its own."""
    contents = [(sha256(folder), folder.resolve()) for folder in folders]
    if new := {content: str(folder) for content, folder in contents if content not in _known}:
        command = [sys.executable, "-m", __name__, *new.values()]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        _known.update(zip(new, json.loads(done.stdout.splitlines()[-1]), strict=True))
    return [_known[content] for content, _ in contents]


def _held(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def _measure(folder: Path) -> float:
    from pipelines.nowcast.methods.interface import load_forecaster

    forecaster, description = load_forecaster(folder, "cpu")
    leads = description.network.leads if description.network else None
    assert leads is not None  # it is a network's
    taken = []
    for side in (64, *SIDES):
        rows, columns = np.mgrid[:side, :side]
        showers = [9 * np.sin(rows / 9 + t) * np.sin(columns / 7) for t in range(description.inputs)]
        rain = np.maximum(showers, 0).astype(np.float32)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is from here on
        before = _held("VmRSS")
        forecaster(rain, leads)
        taken.append((_held("VmHWM") - before) / side**2)
    return max(taken[1:])  # the first imports what it needs


if __name__ == "__main__":
    print(json.dumps([_measure(Path(folder)) for folder in sys.argv[1:]]))
