"""A cycle that is killed at any of its steps is completed by the next run, and nothing is double or lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from archive import moving_cells
from conftest import REPOSITORY, Served, write_params
from inbox_file import write_file

FRAMES = moving_cells("2024-06-01T12:00:00", 4, shape=(40, 40))


@pytest.mark.parametrize("points", [5, pytest.param(30, marks=pytest.mark.full)])
def test_a_cycle_killed_anywhere_is_completed(served: Served, tmp_path: Path, points: int) -> None:
    write_params(tmp_path, {"killed": {"minutes": 10, "policy": {"max_age_minutes": 30}}})
    (tmp_path / "dvc.yaml").touch()
    names = [write_file(tmp_path / "data/inbox/killed", frame).name for frame in FRAMES]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    ours |= {"PREFECT_API_URL": served.prefect, "MLFLOW_TRACKING_URI": served.mlflow, "OMP_NUM_THREADS": "1"}
    ours |= {"PYTHONPATH": str(REPOSITORY), "PREFECT_HOME": str(tmp_path / "prefect"), **served.login}
    command = [sys.executable, REPOSITORY / "tests/killed.py", "killed", "2024-06-01T12:20:00+00:00", str(points)]
    done = subprocess.run([*command, "forecast"], cwd=tmp_path, env=ours, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    unharmed, *others = map(json.loads, done.stdout.splitlines())
    assert unharmed["times"] == [str(frame.time) for frame in FRAMES]
    assert unharmed["latest"] == "20240601T121500Z"
    assert len(others) == points and unharmed["events"] > 5 * points
    cycle = "out/killed/20240601T121500Z/"
    kinds = set()
    for one in others:
        assert one["killed"], one["point"]
        assert one["status"] == 0, "the next run completes it"
        assert [one[key] for key in ("times", "files", "latest")] == [
            unharmed[key] for key in ("times", "files", "latest")
        ]
        # Between the two runs a cycle is there as a whole or not at all, and latest.json names none that isn't.
        between = one["between"]
        there = {name for name in between["files"] if name.startswith(cycle)}
        assert there in (set(), {name for name in unharmed["files"] if name.startswith(cycle)})
        assert between["latest"] is None or there
        # No file is lost: it is in the inbox, or done, and then its frame is stored.
        done_names = {Path(name).name for name in between["files"] if name.startswith("inbox/killed-done/")}
        left = {Path(name).name for name in between["files"] if name.startswith("inbox/killed/")}
        assert done_names | left == set(names)
        assert between["times"] in ([], unharmed["times"]) and (between["times"] or not done_names)
        kinds.add((bool(between["times"]), bool(there)))
    assert kinds >= {(False, False), (True, False)}, "points before and after the frames are stored"
