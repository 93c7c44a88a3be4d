"""What OpenMP is told before torch is imported."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_waiting_threads_spin_shortly_unless_the_environment_says(given: dict[str, str], wanted: str) -> None:
    command = (
        "import sys, pipelines.cli, os; assert 'torch' not in sys.modules; print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", command], env=environment | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == wanted
