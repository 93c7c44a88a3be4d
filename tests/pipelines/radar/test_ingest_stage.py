"""The stage as DVC runs it: a store is rebuilt when its source changes, never mixed, and is the same bytes again."""

import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import REPOSITORY, write_params
from ingested import Result
from radar_files import name_of, write_odim

from pipelines.radar.store import open_frames

STAGE = """
stages:
  ingest_radar:
    cmd: python -m pipelines.radar.ingest radar out/radar.zarr out/quarantine.csv out/quality.csv
    deps: ["${ingest_radar.sources.radar}"]
    params: [ingest_radar]
    outs: [out/radar.zarr, out/quarantine.csv, out/quality.csv]
"""
START = datetime(2021, 2, 28, 12, 0)


def archive(folder: Path, numbers: range, shape: tuple[int, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in numbers:
        time = START + timedelta(minutes=5 * i)
        write_odim(folder / name_of(time), np.random.default_rng(i).integers(1, 200, shape).astype(np.uint8), time)


def repro(folder: Path, source: str) -> str:
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["ingest_radar"]["sources"] = {"radar": source}
    path.write_text(yaml.safe_dump(params))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(["dvc", "repro"], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.full  # that a stage runs at all, test_road.py sees
def test_repro(tmp_path):
    archive(tmp_path / "a", range(35), (12, 16))
    archive(tmp_path / "b", range(3), (20, 10))
    write_params(tmp_path, {"simulated": {}})
    (tmp_path / "dvc.yaml").write_text(STAGE)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
    )
    result = Result(tmp_path)
    assert "35 frames" in repro(tmp_path, "a")
    first = result.bytes
    assert "3 frames" in repro(tmp_path, "b")
    assert open_frames(result.store)["rainfall_flux"].shape == (3, 20, 10)
    archive(tmp_path / "a", range(35, 38), (12, 16))
    assert "38 frames" in repro(tmp_path, "a")
    grown = result.bytes
    assert grown != first
    assert "didn't change" in repro(tmp_path, "a")
    # From DVC's cache, whose files the finished shards once were: nothing has written into them.
    shutil.rmtree(tmp_path / "out")
    repro(tmp_path, "a")
    assert result.bytes == grown
