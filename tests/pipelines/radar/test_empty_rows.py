"""A late frame takes its place in a store: its shard is made anew, and no other."""

import errno
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from ingested import START, Result, archive, at, pixels
from radar_files import name_of, write_odim

import pipelines.common.workers
from pipelines.common.workers import decoders
from pipelines.radar.decoding import decode_packed
from pipelines.radar.empty_rows import rows_of_shards
from pipelines.radar.store import open_frames


def minutes(*numbers: float) -> np.ndarray:
    return np.datetime64("2024-01-01", "s") + np.array([round(60 * number) for number in numbers], "timedelta64[s]")


def test_rows_of_shards_by_hand() -> None:
    def rows(*numbers: float) -> list[list[float]]:
        return [((shard - minutes(0)[0]).astype(int) / 60).tolist() for shard in rows_of_shards(minutes(*numbers), 3)]

    assert rows(0, 5, 10, 15) == [[0, 5, 10], [15]]
    assert rows(0, 5, 15, 20) == [[0, 5, 10], [15, 20]], "a row for the one that is missing"
    assert rows(0, 5, 50, 55) == [[0, 5, 10], [45, 50, 55]], "none for two stretches without any"
    assert rows(0, 5, 12, 17, 22) == [[0, 5, 12], [17, 22]], "no clock, no other rows"
    assert rows(7) == [[7]]
    assert rows() == []


def shards_of(result: Result) -> dict[str, bytes]:
    return {path.parts[-3]: path.read_bytes() for path in (result.store / "rainfall_flux" / "c").glob("*/0/0")}


def test_a_late_frame_remakes_its_shard_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = archive(tmp_path / "in", 70)
    late = files[40].rename(tmp_path / "late")
    result = Result(tmp_path).run(tmp_path / "in")
    before, decoded = shards_of(result), list[str]()
    assert result.times == [at(i) for i in range(70) if i != 40]

    class Watched:
        def __init__(self, limits, most):
            self.real = decoders(limits, most)

        def map(self, function, tasks):
            decoded.extend(task[0].name for task in tasks if function is decode_packed)
            return self.real.map(function, tasks)

    monkeypatch.setattr(pipelines.common.workers, "decoders", Watched)
    late.rename(files[40])
    after = shards_of(result.run(tmp_path / "in"))
    assert [name for name in after if after[name] != before[name]] == ["1"]
    assert before.keys() == after.keys() == {"0", "1", "2"}
    assert set(decoded) == {name_of(at(i)) for i in range(32, 64)}
    assert result.bytes == Result(tmp_path / "once").run(tmp_path / "in").bytes
    assert result.times == [at(i) for i in range(70)]


@pytest.fixture
def gaps(tmp_path: Path) -> Result:
    """Return a store of 10 frames whose third can't be read, and of one two days later, the sixth of its stretch."""
    files = archive(tmp_path / "in", 10)
    write_odim(files[2], np.full((12, 16), 255, np.uint8), at(2))
    later = START + timedelta(days=2, minutes=25)
    write_odim(tmp_path / "in" / name_of(later), pixels(99), later)
    return Result(tmp_path).run(tmp_path / "in")


def test_rows_without_a_frame_are_flagged_and_nan(gaps: Result) -> None:
    with xr.open_zarr(gaps.store, consolidated=False) as stored:
        flag, rain = stored["frame_flag"].to_numpy(), stored["rainfall_flux"]
        assert rain.attrs["ancillary_variables"] == "frame_flag"
        assert stored.sizes["time"] == 32 + 6, "a shard for each of two stretches"
        assert np.flatnonzero(flag == 0).tolist() == [0, 1, *range(3, 10), 37]
        assert stored["source_sha256"].to_numpy()[flag == 1].tolist() == [""] * 28
        assert np.isnan(rain.to_numpy()[flag == 1]).all()
        assert np.isfinite(rain.to_numpy()[flag == 0]).any(axis=(1, 2)).all()
        clock = np.diff(stored["time"].to_numpy()[:32]) == np.timedelta64(5, "m")
        assert clock.all()


def test_who_opens_it_sees_them_as_missing(gaps: Result) -> None:
    frames = open_frames(gaps.store)
    later = START + timedelta(days=2, minutes=25)
    assert gaps.times == [*(at(i) for i in range(10) if i != 2), later]
    assert np.isfinite(frames["rainfall_flux"].to_numpy()).any(axis=(1, 2)).all()
    each = [frames["rainfall_flux"][i].to_numpy() for i in range(10)]
    np.testing.assert_array_equal(frames["rainfall_flux"].to_numpy(), each)
    missing = frames["missing_times"].to_numpy().astype("datetime64[s]")
    assert missing.tolist() == [at(i) for i in range(582) if at(i) not in gaps.times]
    assert "frame_flag" not in frames.variables
    assert "ancillary_variables" not in frames["rainfall_flux"].attrs


def test_it_is_read_as_an_archive_of_its_frames(gaps: Result, tmp_path: Path) -> None:
    (tmp_path / "stores").mkdir()
    gaps.store.rename(tmp_path / "stores" / "radar.zarr")
    again = Result(tmp_path / "again").run(tmp_path / "stores")
    assert again.times == [*(at(i) for i in range(10) if i != 2), START + timedelta(days=2, minutes=25)]
    assert again.reasons == {}


def test_frames_that_cannot_be_decoded_move_nothing_in_any_run(tmp_path: Path) -> None:
    files = archive(tmp_path / "in", 41)
    for i in (0, 40):  # the clock's first, and all of the last shard
        write_odim(files[i], np.full((12, 16), 255, np.uint8), at(i))
    files[39].unlink()
    result = Result(tmp_path).run(tmp_path / "in")
    before = result.bytes
    links = [path.stat().st_ino for path in sorted(result.store.glob("rainfall_flux/c/*/0/0"))]
    assert result.run(tmp_path / "in").bytes == before
    assert [path.stat().st_ino for path in sorted(result.store.glob("rainfall_flux/c/*/0/0"))] == links
    assert result.reasons.keys() == {name_of(at(0)), name_of(at(40))}
    assert result.times == [at(i) for i in range(1, 39)]


def test_a_flag_of_that_name_may_mean_something_else(tmp_path: Path) -> None:
    archive(tmp_path / "in", 4)
    result = Result(tmp_path).run(tmp_path / "in")
    flag = xr.Variable(
        "time", np.ones(4, np.int8), {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "bad good"}
    )
    xr.Dataset({"frame_flag": flag}).to_zarr(result.store, mode="a", consolidated=False)
    assert result.times == [at(i) for i in range(4)]


def test_a_shard_that_another_host_made_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS remembers for a while that a file wasn't there; a list of the folder is as it is."""
    files = archive(tmp_path / "in", 4)
    result, stat, in_vain = Result(tmp_path).run(tmp_path / "in"), os.stat, set[str]()
    files[2].unlink()  # all frames are known, and of those that are left there is no shard
    shards = result.store.with_name(".radar.zarr.ingest") / "shards"

    def stat_of_nfs(path, **options):
        if str(path) in in_vain:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        try:
            return stat(path, **options)
        except FileNotFoundError:
            if Path(os.fsdecode(path)).parent == shards:
                in_vain.add(str(path))
            raise

    monkeypatch.setattr(os, "stat", stat_of_nfs)
    assert len(result.run(tmp_path / "in").times) == 3
