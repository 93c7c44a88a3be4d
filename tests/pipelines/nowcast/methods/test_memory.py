"""The memory that a forecast is said to need is what it takes, measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_model import NETWORK, write_model

from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.memory import members_mb, needed_mb
from pipelines.nowcast.methods.memory_use import measure

MEASURE = """
import sys, numpy as np
from pipelines.nowcast.methods.interface import FALLBACKS
from pipelines.nowcast.methods.network import NetworkForecaster, ProbabilisticNetworkForecaster, build_network
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.memory import needed_mb
def status(key):
    return next(int(line.split()[1]) / 1e3 for line in open("/proc/self/status") if line.startswith(key))
description, shape = ModelDescription.model_validate_json(sys.argv[1]), (640, 640)
rows, columns = np.mgrid[:640, :640]
rain = np.stack([np.maximum(0, 9 * np.sin(rows / 9 + t) * np.sin(columns / 7)) for t in range(4)]).astype(np.float32)
if description.rates:
    forecaster = ProbabilisticNetworkForecaster(build_network(description), 4, description.rates, "matched")
elif description.network:
    forecaster = NetworkForecaster(build_network(description), 4)
else:
    forecaster = FALLBACKS[description.method]
forecaster(rain[:, :96, :96], 12)  # imports what it imports
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
forecaster(rain, 12)
print(status("VmHWM") - before, needed_mb(description, shape, 12))
"""
RATES = [0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0]
WIDE = {"widths": [32, 32], "kernel": 3, "downsample": 4, "leads": 12}


@pytest.mark.full
@pytest.mark.parametrize(
    "cell", ["extrapolation", "scs", "scs_action", "convlstm", "convgru", "trajgru", "probabilities"]
)
def test_the_memory_that_a_method_is_said_to_need_is_what_it_takes(cell: str) -> None:
    network = {"method": "network", "inputs": 4, "network": WIDE | {"cell": cell}}
    description = {"method": cell, "inputs": 3} if cell == "extrapolation" else network
    if cell == "probabilities":
        description = {"method": "network", "inputs": 4, "network": WIDE | {"cell": "scs"}, "rates": RATES}
    command = [sys.executable, "-c", MEASURE, json.dumps(description)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4])
    taken, said = map(float, done.stdout.split()[-2:])
    assert 0.6 * said < taken < 1.1 * said


def test_a_network_s_memory_is_measured_and_then_what_is_said(tmp_path: Path) -> None:
    written = {"method": "network", "inputs": 4, "network": NETWORK, "rates": [0.1, 1.0, 5.0]}
    folder = write_model(tmp_path / "model", written)
    (taken,) = measure([folder])
    # 12 lead times of 3 probabilities and a field at least; fewer channels and rates than the one of the next test.
    assert 4 * 12 * (3 + 1) < taken["forecast"] < 1440
    # Two numbers of motion, two of ways before and after a step, and a field before and after.
    assert 4 * (2 + 2 * 2 + 2) < taken["moving"] < 100
    # Of a member a field, and noise before and after its Fourier transform; and motion and ways.
    assert 4 * (3 + 2 + 2 * 2) < taken["members"] < 90
    description, twice = ModelDescription.read(folder), {what: 2 * of for what, of in taken.items()}
    assert needed_mb(description, (100, 200), 12, twice) == pytest.approx(2 * taken["forecast"] * 0.02)
    assert needed_mb(description, (100, 200), 24, twice) == pytest.approx(4 * taken["forecast"] * 0.02)
    shape = (12, 3, 100, 200)
    difference = members_mb(shape, whole=True, measured=50) - members_mb(shape, whole=False, measured=50)
    assert difference == pytest.approx(4 * 12 * (3 + 1) * 0.02)
    assert members_mb(shape, whole=True, measured=80) == pytest.approx(members_mb(shape, whole=True, measured=50) + 0.6)


def test_a_continent_is_within_4_gb_in_tiles_and_not_without() -> None:
    said = {"method": "network", "inputs": 4, "network": WIDE | {"cell": "scs"}, "rates": RATES}
    description = ModelDescription.model_validate(said)
    measured = {"forecast": 1145.0, "moving": 57.0, "members": 87.0}
    opera, mrms = (needed_mb(description, shape, 12, measured) for shape in ((4400, 3800), (3500, 7000)))
    assert opera < mrms < 3500
    assert mrms - opera == pytest.approx(57 * (3500 * 7000 - 4400 * 3800) / 1e6)
    # One field a lead time is in memory.
    field = needed_mb(ModelDescription.model_validate(said | {"rates": None}), (3500, 7000), 12, measured)
    assert field > 3500 * 7000 * 4 * 12 / 1e6
    said["network"] = WIDE | {"cell": "trajgru"}
    whole = needed_mb(ModelDescription.model_validate(said), (3500, 7000), 12, measured)
    assert whole == pytest.approx(24.5 * 1145)
