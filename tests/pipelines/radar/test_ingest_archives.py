"""Archive files of radar files, read where they are: what is in them, what is refused, and once alone."""

import bz2
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from ingested import Result
from radar_files import cf_dataset, name_of, write_meteonet, write_odim

import pipelines.common.workers
from pipelines.common.errors import UnreadableFile, UserError
from pipelines.common.workers import decoders
from pipelines.radar.readers.archive_file import list_members
from pipelines.radar.readers.read import read_frame
from pipelines.radar.store import open_frames

START = datetime(2021, 2, 28, 23, 45)
COUNT = 4


def at(i: int) -> datetime:
    return START + timedelta(minutes=5 * i)


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """The files themselves, in a folder."""
    folder = tmp_path / "loose"
    folder.mkdir()
    for i in range(COUNT):
        pixels = np.random.default_rng(i).integers(1, 200, (12, 16)).astype(np.uint8)
        write_odim(folder / name_of(at(i)), pixels, at(i))
    return folder


def write_tar(archive: Path, folder: Path, mode: str = "w") -> Path:
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, arcname="./day")
    return archive


def write_zip(archive: Path, folder: Path) -> Path:
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, f"day/{path.name}")
    return archive


WRITERS: dict[str, Callable[[Path, Path], Path]] = {
    "a.tar": write_tar,
    "a.tar.gz": lambda archive, folder: write_tar(archive, folder, "w:gz"),
    "a.tar.bz2": lambda archive, folder: write_tar(archive, folder, "w:bz2"),
    "a.zip": write_zip,
    "named_otherwise": write_tar,
}


@pytest.mark.parametrize("name", WRITERS)
def test_members_become_the_frames_that_the_files_become(tmp_path: Path, loose: Path, name: str) -> None:
    archive = WRITERS[name](tmp_path / "in" / name, loose)
    store = open_frames(Result(tmp_path).run(tmp_path / "in").store)
    expected = open_frames(Result(tmp_path / "expected").run(loose).store)
    np.testing.assert_array_equal(store["rainfall_flux"], expected["rainfall_flux"])
    np.testing.assert_array_equal(store["time"], expected["time"])
    # The hash is the member's own, so that it is the same as of the file by itself.
    assert store["source_sha256"].to_numpy().tolist() == expected["source_sha256"].to_numpy().tolist()
    assert store["source_file"].to_numpy().tolist() == [f"{archive.name}/day/{name_of(at(i))}" for i in range(COUNT)]


def test_a_file_in_bzip2(tmp_path: Path, loose: Path) -> None:
    path = loose / name_of(at(0))
    packed = tmp_path / f"{path.name}.bz2"
    packed.write_bytes(bz2.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_frame(packed, (200, 1.6)).rain_rate, read_frame(path, (200, 1.6)).rain_rate)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(UnreadableFile, match="broken bzip2"):
        read_frame(packed, (200, 1.6))


def test_what_leaves_the_archive_and_what_is_bad_is_refused_alone(tmp_path: Path, loose: Path) -> None:
    archive = write_tar(tmp_path / "in" / "a.tar", loose)
    secret = tmp_path / "secret.h5"
    write_odim(secret, np.ones((12, 16), np.uint8), at(9))

    def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = len(content), kind, target
        tar.addfile(info, io.BytesIO(content))

    with tarfile.open(archive, "a") as tar:
        member("../evil.h5", secret.read_bytes())
        member("/etc/evil.h5", secret.read_bytes())
        member(".", secret.read_bytes())
        member("day/soft.h5", kind=tarfile.SYMTYPE, target=str(secret))
        member("day/hard.h5", kind=tarfile.LNKTYPE, target=f"day/{name_of(at(0))}")
        member("day/pipe.h5", kind=tarfile.FIFOTYPE)
        member("day/empty.h5")
        member("day/text.h5", b"hello")
        member("day/.hidden.h5", b"hello")
        member("day/half.h5.part", b"hello")
    result = Result(tmp_path).run(tmp_path / "in")
    assert len(result.times) == COUNT
    assert {name: reason[:30] for name, reason in result.reasons.items()} == {
        "a.tar/../evil.h5": "a path that leaves its archive",
        "a.tar/etc/evil.h5": "a path that leaves its archive",
        "a.tar": "a member without a name",
        "a.tar/day/soft.h5": "a link in an archive",
        "a.tar/day/hard.h5": "a link in an archive",
        "a.tar/day/pipe.h5": "no file in an archive",
        "a.tar/day/empty.h5": "empty",
        "a.tar/day/text.h5": "no radar format that is known:",
    }


def test_links_in_a_zip_are_refused(tmp_path: Path, loose: Path) -> None:
    archive = write_zip(tmp_path / "in" / "a.zip", loose)
    with zipfile.ZipFile(archive, "a") as packed:
        info = zipfile.ZipInfo("day/soft.h5")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(info, "/etc/passwd")
        packed.writestr("../../evil.h5", b"hello")
    assert Result(tmp_path).run(tmp_path / "in").reasons == {
        "a.zip/day/soft.h5": "a link in an archive",
        "a.zip/../../evil.h5": "a path that leaves its archive",
    }


def test_a_broken_archive_costs_itself(tmp_path: Path, loose: Path) -> None:
    for name in ("b.tar.gz", "c.tar.bz2", "d.zip"):
        path = WRITERS[f"a{name[1:]}"](tmp_path / "in" / name, loose)
        path.write_bytes(path.read_bytes()[:1000])
    write_tar(tmp_path / "in" / "a.tar", loose)
    result = Result(tmp_path).run(tmp_path / "in")
    assert len(result.times) == COUNT
    assert set(result.reasons) == {"b.tar.gz", "c.tar.bz2", "d.zip"}
    assert all("broken" in reason for reason in result.reasons.values())


def test_archives_that_are_none(tmp_path: Path) -> None:
    archive = write_meteonet(
        tmp_path / "rainfall_SE.npz", np.zeros((1, 515, 784), np.int16), [datetime(2021, 2, 28, 12, 0)]
    )
    assert list_members(archive) is None
    cf_dataset(1).to_zarr(tmp_path / "in" / "a.zarr", consolidated=False)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as packed:
        for path in (tmp_path / "in" / "a.zarr").rglob("*"):
            packed.write(path, path.relative_to(tmp_path / "in" / "a.zarr"))
    with pytest.raises(ValueError, match="a Zarr store in an archive: unpack it"):
        list_members(tmp_path / "b.zip")


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path, loose: Path) -> None:
    write_zip(loose / "z.zip", loose)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for path in sorted(loose.iterdir()):
            tar.add(path, arcname=path.name)
    assert list_members(tmp_path / "a.tar") == {path.name: None for path in loose.iterdir()}


def test_an_archive_in_the_inbox_is_told_of(tmp_path: Path, loose: Path) -> None:
    for name in ("a.tar.gz", "a.zip"):
        with pytest.raises(UnreadableFile, match="an archive of files; only `scs ingest`"):
            read_frame(WRITERS[name](tmp_path / "in" / name, loose), (200, 1.6))


def test_a_second_run_looks_into_changed_archives_alone(
    tmp_path: Path, loose: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_tar(tmp_path / "in" / "a.tar", loose)
    result = Result(tmp_path).run(tmp_path / "in")
    first, asked = result.bytes, list[str]()

    class Watched:
        def __init__(self, limits, most):
            self.real = decoders(limits, most)

        def map(self, function, tasks):
            asked.extend(task[0].name for task in tasks)
            return self.real.map(function, tasks)

    monkeypatch.setattr(pipelines.common.workers, "decoders", Watched)
    assert result.run(tmp_path / "in").bytes == first
    assert asked == []
    (loose / name_of(at(3))).unlink()
    write_tar(archive, loose)
    result.run(tmp_path / "in")
    assert len(result.times) == COUNT - 1
    assert "a.tar" in asked


def test_nothing_of_use_counts_members(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.h5").write_bytes(b"hello")
    write_tar(tmp_path / "in" / "a.tar", tmp_path / "bad")
    with pytest.raises(UserError, match=r"none of its 2 files is of use; a\.tar/day/x\.h5: no radar format"):
        Result(tmp_path).run(tmp_path / "in")
