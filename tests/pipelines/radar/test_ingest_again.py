"""Ingestion again: what was killed goes on, what is new is read alone, and the store's bytes don't tell."""

import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from ingested import PARAMS, Result
from radar_files import name_of, write_odim

import pipelines.common.workers
import pipelines.radar.ingest
from pipelines.common.errors import UserError
from pipelines.common.files import exclusive
from pipelines.common.rights import Rights
from pipelines.common.workers import decoders
from pipelines.radar.readers.read import read_frame
from pipelines.radar.store import frames_dataset, open_frames

START = datetime(2021, 2, 28, 23, 50)


def at(i: int) -> datetime:
    return START + timedelta(minutes=5 * i)


def add(folder: Path, numbers: range) -> None:
    folder.mkdir(exist_ok=True)
    for i in numbers:
        pixels = np.random.default_rng(i).integers(1, 200, (12, 16)).astype(np.uint8)
        write_odim(folder / name_of(at(i)), pixels, at(i))


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the files that go to the decoders, once for their header and once for their pixels."""
    names: list[str] = []

    class Watched:
        def __init__(self, limits, most):
            self.real = decoders(limits, most)

        def map(self, function, tasks):
            names.extend(task[0].name for task in tasks)
            return self.real.map(function, tasks)

    monkeypatch.setattr(pipelines.common.workers, "decoders", Watched)
    return names


def test_the_store_is_what_xarray_writes_of_all_frames_at_once(tmp_path):
    add(tmp_path / "in", range(40))
    result = Result(tmp_path).run(tmp_path / "in")
    frames = [read_frame(path, (200.0, 1.6)) for path in sorted((tmp_path / "in").iterdir())]
    expected = Result(tmp_path / "expected")
    frames_dataset(frames, Rights("CC0-1.0")).to_zarr(expected.store, zarr_format=3, consolidated=False)
    assert open_frames(result.store).identical(open_frames(expected.store))
    for shard in ("0", "1"):
        path = Path("rainfall_flux", "c", shard, "0", "0")
        assert (result.store / path).read_bytes() == (expected.store / path).read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.radar import ingest as ingest_radar, shards
from pipelines.common.ingest_cache import IngestCache
from pipelines.params.radar import ZR, IngestRadar

where, count = sys.argv[1], int(sys.argv[2])
owner, name = {"make": (shards.Shards, "make"), "put": (IngestCache, "put"), "linked": (shards, "missing_times")}[where]
real = getattr(owner, name)

def dies(*arguments, **named):
    global count
    count -= 1
    if count < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)

setattr(owner, name, dies)
ingest_radar.ingest_radar(
    *map(Path, sys.argv[3:]),
    IngestRadar(
        sources={"a": "x"}, z_r=ZR(a=200.0, b=1.6), license="CC0-1.0", max_rate=655.34, above_max_rate="clip"
    ),
)
"""


def test_killed_anywhere_it_goes_on_to_the_same_bytes(tmp_path, decoded):
    add(tmp_path / "in", range(70))
    once = Result(tmp_path / "once").run(tmp_path / "in")
    result = Result(tmp_path)
    for where, count in (("put", 90), ("make", 1), ("linked", 0)):
        arguments = [where, str(count), *map(str, (tmp_path / "in", result.store, result.table, result.quality))]
        done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not result.store.exists() or result.bytes == once.bytes
    decoded.clear()
    result.run(tmp_path / "in")
    assert decoded == []
    assert result.bytes == once.bytes
    assert result.quality.read_bytes() == once.quality.read_bytes()
    left = {path.name for path in result.store.parent.iterdir()}
    assert left == {".radar.zarr.ingest", "radar.zarr", "quarantine.csv", "quality.csv"}


def test_a_later_run_reads_what_is_new_alone(tmp_path, decoded):
    add(tmp_path / "in", range(40))
    (tmp_path / "in" / "broken.h5").write_bytes(b"no radar file")
    result = Result(tmp_path).run(tmp_path / "in")
    decoded.clear()
    before = result.bytes
    shutil.rmtree(result.store)  # as DVC does
    assert result.run(tmp_path / "in").bytes == before
    assert decoded == []
    assert set(result.reasons) == {"broken.h5"}

    add(tmp_path / "in", range(40, 45))
    grown = result.run(tmp_path / "in").bytes
    assert {name_of(at(i)) for i in range(40, 45)} <= set(decoded)
    assert set(decoded) <= {name_of(at(i)) for i in range(32, 45)}  # no frame of the finished shard
    assert Result(tmp_path / "once").run(tmp_path / "in").bytes == grown
    assert len(result.times) == 45

    (tmp_path / "in" / name_of(at(20))).unlink()
    assert Result(tmp_path / "again").run(tmp_path / "in").bytes == result.run(tmp_path / "in").bytes
    assert len(result.times) == 44


def test_a_file_that_changes_is_read_again(tmp_path, decoded):
    add(tmp_path / "in", range(3))
    result = Result(tmp_path).run(tmp_path / "in")
    path = tmp_path / "in" / name_of(at(1))
    write_odim(path, np.full((12, 16), 144, np.uint8), at(1))
    decoded.clear()
    result.run(tmp_path / "in")
    assert decoded.count(path.name) == 2
    np.testing.assert_allclose(open_frames(result.store)["rainfall_flux"][1], 11.53, atol=0.005)
    # What can't be read now may be readable later without a change: it isn't remembered.
    path.unlink()
    path.symlink_to(tmp_path / "in" / ".elsewhere.h5")
    assert result.run(tmp_path / "in").reasons == {path.name: "No such file or directory"}
    write_odim(tmp_path / "in" / ".elsewhere.h5", np.full((12, 16), 144, np.uint8), at(1))
    assert len(result.run(tmp_path / "in").times) == 3


def test_other_parameters_decode_anew(tmp_path):
    add(tmp_path / "in", range(3))
    result = Result(tmp_path).run(tmp_path / "in")
    before = result.bytes
    params = pipelines.radar.ingest.IngestRadar.model_validate(
        {
            "sources": {"a": "x"},
            "z_r": {"a": 300.0, "b": 1.4},
            "license": "CC0-1.0",
            "max_rate": 9.0,
            "above_max_rate": "clip",
        }
    )
    pipelines.radar.ingest.ingest_radar(tmp_path / "in", result.store, result.table, result.quality, params)
    assert result.bytes != before
    assert float(open_frames(result.store)["rainfall_flux"].max()) == 9.0


def test_another_licence_decodes_nothing(tmp_path, decoded):
    add(tmp_path / "in", range(3))
    result = Result(tmp_path).run(tmp_path / "in")
    decoded.clear()
    words = {"license": "CC-BY-4.0", "attribution": "Source: us"}
    ours = PARAMS.model_copy(update=words)
    pipelines.radar.ingest.ingest_radar(tmp_path / "in", result.store, result.table, result.quality, ours)
    assert decoded == []
    assert open_frames(result.store).attrs | words == open_frames(result.store).attrs


def test_two_runs_at_once_are_refused(tmp_path):
    add(tmp_path / "in", range(3))
    result = Result(tmp_path)
    with exclusive(result.store.with_name(".radar.zarr.ingest") / ".lock"), pytest.raises(UserError, match="another"):
        result.run(tmp_path / "in")
