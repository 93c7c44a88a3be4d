"""What makes a run of tests the same each time; that they pass in any order, `pytest -p randomly` shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def collected(**environment: str) -> list[str]:
    """The ids of all tests, in order, as a process of its own collects them; a second -q would leave ids out."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "-m", ""]
    ours = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(command, cwd=ROOT, env=ours, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.full
def test_every_process_collects_the_same_tests() -> None:
    """Whatever the hash seed, the time of day and its zone: workers that disagree end a run at its start."""
    first = collected(PYTHONHASHSEED="0", TZ="UTC")
    assert f"{Path(__file__).relative_to(ROOT)}::{test_every_process_collects_the_same_tests.__name__}" in first
    assert collected(PYTHONHASHSEED="1", TZ="Asia/Tokyo") == first
    assert len(set(first)) == len(first)
