"""The stage: the videos' own pixels in a store, the same bytes however many runs made it, and a reason for the rest."""

import csv
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
import xarray as xr
import zarr
from conftest import REPOSITORY, write_params
from video_files import ingest_params, noise, write, write_sound

import pipelines.common.workers
from pipelines.common.errors import UserError
from pipelines.common.provenance import sha256
from pipelines.video import ingest as stage
from pipelines.video.clips import COLUMNS, SHARD, open_clips
from pipelines.video.ingest import ingest_video
from pipelines.video.optical_flow import flow_between
from pipelines.video.samples import ClipSamples

LONG = SHARD + 22
PARAMS = ingest_params(short_side=32, rate=None, min_frames=2)


class Run:
    """A folder of videos, and what ingesting it gives."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.store, self.quarantine = folder / "raw", folder / "out" / "clips.zarr", folder / "out" / "q.csv"

    def __call__(self, **changes) -> int:
        return ingest_video(self.raw, self.store, self.quarantine, PARAMS.model_copy(update=changes))

    @property
    def bytes(self) -> tuple[str, bytes]:
        return sha256(self.store), self.quarantine.read_bytes()

    @property
    def reasons(self) -> dict[str, str]:
        with self.quarantine.open(newline="") as stream:
            return {row["file"]: row["reason"] for row in csv.DictReader(stream)}

    @property
    def outcomes(self) -> int:
        """How many videos the cache knows of."""
        with closing(sqlite3.connect(self.store.parent / ".clips.zarr.ingest" / "found.sqlite")) as found:
            return found.execute("SELECT count(*) FROM found").fetchone()[0]


@pytest.fixture
def run(tmp_path) -> Run:
    """Two classes, three groups, eight videos; one is of another shape, and one has more frames than a shard."""
    found = Run(tmp_path)
    for number in range(8):
        height, count = (48 if number == 3 else 32), (LONG if number == 5 else 6 + number)
        name = f"{'ab'[number % 2]}/v_x_g{number % 3}_c{number}.mkv"
        write(found.raw / name, noise(number, count, height, 32))
    return found


def test_store(run):
    assert run() == 0
    clips = open_clips(run.store)
    assert list(clips.table) == list(COLUMNS)
    assert clips.classes == ["a", "b"]
    assert clips.attributes["layout"] == "folders"
    assert len(clips) == 8
    for i, row in clips.table.iterrows():
        path = run.raw / row["source"]
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        with av.open(str(path)) as video:
            pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
        assert np.array_equal(clips.frames(i), pixels)
        assert pixels.shape == (row["frames"], row["height"], row["width"], 3)
        assert row["label_name"] == clips.classes[row["label"]] == path.parent.name
        assert row["clip"] == row["source"].removesuffix(".mkv")
        assert row["fps"] == 25
        assert f"_{row['group']}_" in path.name
    assert clips.table.groupby("group")["split"].nunique().tolist() == [1, 1, 1]
    long = int(clips.table["frames"].idxmax())
    assert np.array_equal(clips.frames(long, SHARD - 8, 20), clips.frames(long)[SHARD - 8 : SHARD + 12])
    for start, count in ((0, LONG + 1), (-1, 3), (LONG, 1), (3, 0)):
        with pytest.raises(IndexError):
            clips.frames(long, start, count)


def test_store_is_what_others_can_open(run):
    run(flow="store")
    group = zarr.open_group(run.store, mode="r")
    pixels = group["pixels/32x32"]
    assert (pixels.metadata.zarr_format, pixels.dtype, pixels.shards[0]) == (3, np.uint8, SHARD)
    assert group["flow/32x32"].shape == (pixels.shape[0], 8, 8, 2)
    with xr.open_zarr(run.store, consolidated=False) as table:
        assert table["label_name"].to_numpy().tolist().count("b") == 4
        assert table["source"].attrs["long_name"]


def test_a_store_says_its_format_and_what_a_newer_version_has_written_is_refused(run):
    run()
    attributes = zarr.open_group(run.store).attrs
    assert attributes["scs_format_version"] == 1
    names = open_clips(run.store).classes
    del attributes["scs_format_version"]  # as version 0.1 wrote it
    assert open_clips(run.store).classes == names
    attributes["scs_format_version"] = 2
    with pytest.raises(UserError, match=r"clips\.zarr: it is of format 2, and this scs-nowcast knows up to 1"):
        open_clips(run.store)


def test_flow_stored_or_computed_is_the_same(run):
    run(flow="store")
    stored = open_clips(run.store)
    long = int(stored.table["frames"].idxmax())  # over two shards
    np.testing.assert_allclose(stored.flow(long), flow_between(stored.frames(long)), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(stored.flow(long, SHARD - 8, 20), stored.flow(long)[SHARD - 8 : SHARD + 11])
    from_store = [ClipSamples(stored, "train", 5, 32, flow=True, seed=1)[n] for n in range(4)]
    run(flow="loader")
    computed = open_clips(run.store)
    assert (stored.has_flow, computed.has_flow) == (True, False)
    for n, (frames, _, flow) in enumerate(from_store):
        sample = ClipSamples(computed, "train", 5, 32, flow=True, seed=1)[n]
        assert (sample[0] == frames).all()
        np.testing.assert_allclose(sample[2], flow, rtol=1e-3, atol=1e-3)


def test_bad_files(run, capsys):
    run()
    clean = open_clips(run.store).table
    (run.raw / "a" / "empty.mp4").touch()
    (run.raw / "a" / "page.mp4").write_bytes(b"<html>")
    write_sound(run.raw / "a" / "sound.mp4")
    write(run.raw / "b" / "one.mkv", noise(9, 1))
    (run.raw / "b" / "gone.mp4").symlink_to("nowhere")
    (run.raw / "b" / "odd\udcff\n.mp4").touch()
    write(run.raw / "stray.mkv", noise(9, 9))
    capsys.readouterr()
    assert run() == 7
    assert run.reasons == {
        "a/empty.mp4": "empty",
        "a/page.mp4": "no video that can be decoded: Invalid data found when processing input",
        "a/sound.mp4": "it has no video, sound alone",
        "b/gone.mp4": "No such file or directory",
        "b/odd\\xff\\n.mp4": "empty",
        "b/one.mkv": "1 frame, and min_frames is 2",
        "stray.mkv": "in no class's folder",
    }
    told = capsys.readouterr().out
    assert "a/empty.mp4: empty\n" in told
    assert told.rstrip().endswith(f"; 7 in quarantine: {run.quarantine}")
    assert open_clips(run.store).table.equals(clean)


def test_names_that_are_no_text(run):
    """Class and file of a good video have names of any bytes."""
    write(run.raw / "c\udcff" / "odd\udcfe.mkv", noise(11, 12))
    assert run() == 0
    clips = open_clips(run.store)
    assert "c\\xff" in clips.classes
    of_it = clips.table.set_index("clip").loc["c\\xff/odd\\xfe"]
    assert (of_it["label_name"], of_it["group"]) == ("c\\xff", "odd\\xfe")


def test_nothing_of_use(run):
    shutil.rmtree(run.raw)
    (run.raw / "a").mkdir(parents=True)
    (run.raw / "a" / "empty.mp4").touch()
    with pytest.raises(UserError, match=r"none of its 1 videos is of use; a/empty\.mp4: empty"):
        run()
    assert run.reasons == {"a/empty.mp4": "empty"}
    assert not run.store.exists()


def test_repeats_and_contradictions(run, capsys):
    video = run.raw / "a" / "v_x_g0_c0.mkv"
    shutil.copy(video, run.raw / "a" / "z_again.mkv")
    shutil.copy(video, run.raw / "b" / "z_other.mkv")
    assert run() == 1
    assert run.reasons == {"b/z_other.mkv": "conflict: the content of a/v_x_g0_c0.mkv, a a"}
    assert "1 repeated files skipped" in capsys.readouterr().out
    assert len(open_clips(run.store)) == 8


def test_official_lists_that_part_a_group(run, capsys):
    for path, split in ((path, "test" if "c6" in path.name else "train") for path in sorted(run.raw.rglob("*.mkv"))):
        target = run.raw / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    (run.raw / "test" / "b").mkdir()
    for empty in ("a", "b"):
        (run.raw / empty).rmdir()
    run()
    told = capsys.readouterr().out
    assert "the official lists part 1 groups (g0" in told
    assert "nothing to train on" not in told
    for path in (run.raw / "train" / "b").iterdir():
        path.rename(run.raw / "test" / "b" / path.name)
    run()
    assert "; nothing to train on of b; 0 in quarantine" in capsys.readouterr().out


def test_grows_and_shrinks(run, monkeypatch):
    """Only what is new is decoded; the store is that of one run over all."""
    run()
    first = run.bytes
    videos = sorted(run.raw.rglob("*.mkv"))
    late = [videos[0], videos[5]]
    for path in late:
        path.rename(path.with_suffix(".later"))
    run()
    assert run.bytes != first
    assert run.outcomes == 6
    for path in late:
        path.with_suffix(".later").rename(path)
    decoded = []
    workers = pipelines.common.workers.decoders

    class Watched:
        def __init__(self, limits, most):
            self.real = workers(limits, most)

        def map(self, function, tasks):
            decoded.extend(task[0] for task in tasks)
            return self.real.map(function, tasks)

    monkeypatch.setattr(pipelines.common.workers, "decoders", Watched)
    run()
    assert sorted(decoded) == late
    assert run.bytes == first
    run()
    assert len(decoded) == 2
    run(seed=7, test_share=0.3)  # other splits need no decoding
    assert len(decoded) == 2
    run(short_side=16)
    assert len(decoded) == 10
    shards = run.store.parent / ".clips.zarr.ingest" / "shards"
    assert len(list(shards.iterdir())) == 9  # those of the store, and no others


def test_shards_are_linked(run):
    run()
    shards = run.store.parent / ".clips.zarr.ingest" / "shards"
    assert {path.stat().st_nlink for path in shards.iterdir()} == {2}


SLOW = """
import sys, time
from pathlib import Path
import pipelines.video.ingest as stage
from pipelines.common.ingest_cache import IngestCache
put = IngestCache.put
def slowly(*arguments):
    put(*arguments)
    print("one", flush=True)
    time.sleep(0.3)
IngestCache.put = slowly
sys.path.insert(0, {tests!r})
from video_files import ingest_params
stage.ingest_video(*map(Path, sys.argv[1:]), ingest_params(short_side=32, rate=None, min_frames=2))
"""


def test_killed_in_the_middle(run, tmp_path):
    """It goes on from there, and is as if nothing had happened."""
    script = SLOW.format(tests=str(REPOSITORY / "tests"))
    command = [sys.executable, "-c", script, str(run.raw), str(run.store), str(run.quarantine)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as killed:
        assert killed.stdout is not None
        for _ in range(3):
            assert killed.stdout.readline() == "one\n"
        killed.send_signal(signal.SIGKILL)
    assert not run.store.exists()
    assert 3 <= run.outcomes < 8
    started = time.time_ns()
    run()
    shards = list((run.store.parent / ".clips.zarr.ingest" / "shards").iterdir())
    assert sum(path.stat().st_mtime_ns < started for path in shards) >= 3
    resumed = run.bytes
    shutil.rmtree(run.store.parent)
    run()
    assert run.bytes == resumed


def test_stage(run, tmp_path, monkeypatch):
    """As DVC calls it, with params.yaml's section."""
    write_params(tmp_path, {"simulated": {}})
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("source: data/raw/video", f"source: {run.raw}"))
    monkeypatch.chdir(tmp_path)
    stage.main(Path("clips.zarr"), Path("quarantine.csv"))
    clips = open_clips(tmp_path / "clips.zarr")
    # Those with 6 and 7 frames of 25 a second have 3 of 12 a second; the long one's last begins at 533/25 = 21.32 s,
    # and 256/12 = 21.33 s is nearest to that.
    assert clips.table["frames"].tolist() == [257]
    assert clips.table[["height", "width", "fps"]].iloc[0].tolist() == [64, 64, 12]
    with pytest.raises(UserError, match="no store of clips"):
        open_clips(tmp_path / "nothing.zarr")
