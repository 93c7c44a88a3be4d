"""The memory that a forecast is said to need is what it takes, measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
WIDE = {"widths": [32, 32], "kernel": 3, "downsample": 4, "leads": 12}


@pytest.mark.full
@pytest.mark.parametrize(
    "cell", ["extrapolation", "scs", "scs_action", "convlstm", "convgru", "trajgru", "probabilities"]
)
def test_the_memory_that_a_method_is_said_to_need_is_what_it_takes(cell: str) -> None:
    network = {"method": "network", "inputs": 4, "network": WIDE | {"cell": cell}}
    description = {"method": cell, "inputs": 3} if cell == "extrapolation" else network
    if cell == "probabilities":
        rates = [0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0]
        description = {"method": "network", "inputs": 4, "network": WIDE | {"cell": "scs"}, "rates": rates}
    command = [sys.executable, "-c", MEASURE, json.dumps(description)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4])
    taken, said = map(float, done.stdout.split()[-2:])
    assert 0.6 * said < taken < 1.1 * said
