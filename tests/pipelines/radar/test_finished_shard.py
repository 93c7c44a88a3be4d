"""A run passes by shards whose files are the same; whatever has changed, it ends as a run that knows of nothing."""

import os
import shutil
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
from ingested import Result, archive, at, pixels
from radar_files import cf_dataset, name_of, write_odim

from pipelines.common import provenance
from pipelines.common.ingest_cache import IngestCache
from pipelines.radar import ingestion, shard_task, store

COUNT, SIZE, LATE = 20, 4, 9  # frames, of a shard, and the one that isn't there


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(store, "SHARD_FRAMES", SIZE)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the power stays on
    files = archive(tmp_path / "in", COUNT)
    files[LATE].unlink()
    (tmp_path / "in" / "broken.h5").write_bytes(b"no radar file")
    return tmp_path / "in"


@pytest.fixture
def looked_into(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that the cache is asked for."""
    names, get = list[str](), IngestCache.get

    def asked(cache: IngestCache, path: Path, part: str = "") -> object:
        names.append(path.name)
        return get(cache, path, part)

    monkeypatch.setattr(IngestCache, "get", asked)
    return names


def add(folder: Path, time: datetime, i: int, name: str | None = None, shape: tuple[int, int] = (12, 16)) -> None:
    write_odim(folder / (name or name_of(time)), pixels(i, shape), time)


def crashes(*task: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def file(folder: Path, i: int) -> Path:
    return folder / name_of(at(i))


def other_grid(folder: Path) -> None:
    for i in range(40):
        add(folder, at(i), i, f"{i}.h5", (12, 18))


def radars(folder: Path) -> None:
    with h5py.File(file(folder, 13), "r+") as opened:
        opened.create_group("how").attrs["nodes"] = np.bytes_("a,b")
    add(folder, at(COUNT), COUNT)
    with h5py.File(file(folder, COUNT), "r+") as opened:
        opened.create_group("how").attrs["nodes"] = np.bytes_("b")


def link(folder: Path) -> None:
    file(folder, 13).rename(folder.parent / "elsewhere.h5")
    file(folder, 13).symlink_to(folder.parent / "elsewhere.h5")


def store_around(folder: Path) -> None:
    (folder / "new.zarr").mkdir()
    (folder / "new.zarr" / "zarr.json").write_text("{}")
    file(folder, 13).rename(folder / "new.zarr" / "x.h5")


FIRST = set(range(SIZE))  # always looked into
ALL = set(range(COUNT)) - {LATE}
CHANGES: dict[str, tuple[Callable[[Path], object], set[int]]] = {
    "none": (lambda folder: None, set()),
    "a frame more": (lambda folder: add(folder, at(20), 20), {20}),
    "a late frame": (lambda folder: add(folder, at(LATE), LATE), {8, LATE, 10, 11}),
    "one before the first": (lambda folder: add(folder, at(-1), 99), ALL),
    "one off the clock": (lambda folder: add(folder, at(13) + timedelta(seconds=70), 99), {8, 10, 11, 12, 13, 14, 15}),
    "a file is another": (lambda folder: add(folder, at(13), 99), {12, 13, 14, 15}),
    "a file is broken": (lambda folder: file(folder, 13).write_bytes(b"no radar file"), {12, 13, 14, 15}),
    "a file is gone": (lambda folder: file(folder, 13).unlink(), {12, 14, 15}),
    "the first file is gone": (lambda folder: file(folder, 0).unlink(), ALL - {0}),
    "the first shard is gone": (lambda folder: [file(folder, i).unlink() for i in range(4)], {4, 5, 6, 7}),
    "the last file is gone": (lambda folder: file(folder, 19).unlink(), {16, 17, 18}),
    "a file has another name": (lambda folder: file(folder, 13).rename(folder / "x.h5"), {12, 14, 15}),
    "one repeats another": (lambda folder: add(folder, at(13), 13, "x.h5"), {12, 13, 14, 15}),
    "one contradicts another": (lambda folder: add(folder, at(13), 14, "x.h5"), {12, 13, 14, 15}),
    "one leads out": (link, {12, 14, 15}),
    "most are of another grid": (other_grid, ALL),
    "one of another grid": (lambda folder: add(folder, at(13), 13, "x.h5", (12, 18)), set()),
    "radars are named": (radars, {12, 13, 14, 15, 20}),
    "a Zarr store in it": (store_around, ALL - {13}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_ends_as_a_run_that_knows_nothing(tmp_path: Path, source: Path, looked_into: list[str], name: str) -> None:
    result = Result(tmp_path).run(source)
    change, expected = CHANGES[name]
    change(source)
    fresh = Result(tmp_path / "fresh").run(source)
    looked_into.clear()
    result.run(source)
    frames = {i for i in range(COUNT + 1) if name_of(at(i)) in looked_into}
    assert frames - FIRST == expected - FIRST
    assert result.bytes == fresh.bytes
    result.run(source)  # goes by what that one kept
    assert result.bytes == fresh.bytes
    assert result.table.read_bytes() == fresh.table.read_bytes()
    assert result.quality.read_bytes() == fresh.quality.read_bytes()


def test_code_that_says_it_otherwise_says_it_of_all_and_decodes_nothing(
    tmp_path: Path, source: Path, looked_into: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, digest, line = Result(tmp_path).run(source), provenance.sha256, ingestion.quality_line
    edited = {"quality_table.py": "another"}
    monkeypatch.setattr(provenance, "sha256", lambda path: edited.get(path.name) or digest(path))
    monkeypatch.setattr(ingestion, "quality_line", lambda *row: line(*row) + "0")
    fresh = Result(tmp_path / "fresh").run(source)
    looked_into.clear()
    monkeypatch.setattr(shard_task, "decode_packed", crashes)
    result.run(source)
    assert {name_of(at(i)) for i in ALL} <= set(looked_into)
    assert result.quality.read_bytes() == fresh.quality.read_bytes()


def test_grids_a_hair_apart_are_compared_with_the_first(tmp_path: Path, source: Path) -> None:
    for i in ALL - FIRST:
        write_odim(file(source, i), pixels(i), at(i), left=80.0)  # metres, of a pixel of 1000
    result = Result(tmp_path).run(source)
    write_odim(source / name_of(at(-SIZE)), pixels(99), at(-SIZE), left=-80.0)  # alike to those of FIRST alone
    fresh = Result(tmp_path / "fresh").run(source)
    result.run(source)
    assert fresh.times == [at(i) for i in sorted(ALL - FIRST)]
    assert result.times == fresh.times
    assert result.bytes == fresh.bytes


def test_files_of_many_frames_are_in_many_shards(tmp_path: Path, source: Path) -> None:
    shutil.rmtree(source)
    source.mkdir()
    for i in range(3):
        day = cf_dataset(6)
        day["time"] = day["time"] + i * np.timedelta64(30, "m")
        day.to_netcdf(source / f"{i}.nc")
    result = Result(tmp_path).run(source)
    day.isel(time=slice(0, 5)).to_netcdf(source / "2.nc")
    fresh = Result(tmp_path / "fresh").run(source)
    assert result.run(source).bytes == fresh.bytes
    assert len(result.times) == 17


def test_the_same_files_in_a_hidden_folder_are_not_taken(tmp_path: Path, source: Path) -> None:
    result = Result(tmp_path).run(source)
    outer = tmp_path / "outer"
    outer.mkdir()
    source.rename(outer / ".in")
    add(outer, at(0), 0)
    assert result.run(outer).times == [at(0)]


def test_what_became_of_a_store_is_not_in_the_next(tmp_path: Path, source: Path) -> None:
    result = Result(tmp_path).run(source)
    made, shards = result.bytes, result.store / "rainfall_flux" / "c"
    for _ in range(2):  # of the one that a run replaced the next makes its own
        target = shards / "1" / "0" / "0"
        target.unlink()
        target.write_bytes(b"someone's")
        (shards / "9" / "0").mkdir(parents=True)
        (shards / "9" / "0" / "0").write_bytes(b"someone's")
        (shards / "2" / "0" / "0").unlink()
        (shards / "2" / "0" / "0").mkdir()
        (shards / "3" / "0" / "1").write_bytes(b"someone's")
        assert result.run(source).bytes == made
    add(source, at(COUNT), COUNT)
    for _ in range(2):
        result.run(source)
    kept = result.store.parent / ".radar.zarr.ingest" / "replaced" / "rainfall_flux" / "c"
    of_store = {path.relative_to(shards): path.stat().st_ino for path in shards.rglob("*")}
    twins = {path.relative_to(kept): path.stat().st_ino for path in kept.rglob("*")}
    assert twins.keys() == of_store.keys()
    assert [name for name in twins if name.name == "0" and len(name.parts) == 3 and twins[name] != of_store[name]] == []


def test_where_the_first_shard_can_not_be_made_again_the_others_stay(tmp_path: Path, source: Path, monkeypatch) -> None:
    result = Result(tmp_path).run(source)
    for path in (result.store.parent / ".radar.zarr.ingest" / "shards").iterdir():
        if path.stat().st_ino == (result.store / "rainfall_flux" / "c" / "0" / "0" / "0").stat().st_ino:
            path.unlink()
    monkeypatch.setattr(shard_task, "decode_packed", crashes)
    result.run(source)
    assert result.times == [at(i) for i in range(SIZE, COUNT) if i != LATE]


def test_a_shard_that_is_gone_is_made_again(tmp_path: Path, source: Path) -> None:
    result = Result(tmp_path).run(source)
    made = result.bytes
    work = result.store.parent / ".radar.zarr.ingest" / "shards"
    inode = (result.store / "rainfall_flux" / "c" / "2" / "0" / "0").stat().st_ino
    (gone,) = (path for path in work.iterdir() if path.stat().st_ino == inode)
    gone.unlink()
    assert result.run(source).bytes == made
    assert gone.exists()


def test_pixels_that_a_link_has_put_elsewhere_are_left_as_they_are(tmp_path: Path, source: Path) -> None:
    result = Result(tmp_path).run(source)
    shards, elsewhere = result.store / "rainfall_flux" / "c", tmp_path / "elsewhere"
    shards.rename(elsewhere)
    shards.symlink_to(elsewhere)
    (elsewhere / "another").write_bytes(b"another's")
    there = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    for i in (COUNT, COUNT + 1):  # the second would take the links of what the first has replaced
        add(source, at(i), i)
        result.run(source)
        assert not shards.is_symlink()
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == there
