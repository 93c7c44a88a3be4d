"""What is kept from one ingestion to the next, and what is forgotten."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.common.files import entries
from pipelines.common.imports import CODE
from pipelines.common.ingest_cache import IngestCache, signature, signatures


def numbers(folder: Path, made_by: str) -> IngestCache[complex]:
    return IngestCache(folder, made_by, lambda z: [z.real, z.imag], lambda plain: complex(*plain))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a", os.fsdecode(b"r\xe9seau"), "folder")]
    for path in paths[:2]:
        path.write_bytes(b"1")
    paths[2].mkdir()
    (paths[2] / "1.png").touch()
    return paths


def known(folder: Path, paths: list[Path], made_by: str = "me", part: str = "") -> list[complex | str | None]:
    with closing(numbers(folder, made_by)) as cache:
        return [cache.get(path, part) for path in paths]


def fill(folder: Path, paths: list[Path], *records: complex | str) -> None:
    with closing(numbers(folder, "me")) as cache:
        for path, record in zip(paths, records, strict=True):
            assert cache.get(path) is None
            cache.put(path, record)


def test_what_was_found_is_known_to_the_next_run(tmp_path: Path, files: list[Path], monkeypatch) -> None:
    fill(tmp_path / "work", files, 1 + 2j, "no video", 0j)
    assert known(tmp_path / "work", files) == [1 + 2j, "no video", 0j]
    monkeypatch.chdir(tmp_path)
    assert known(Path("work"), [Path("a"), Path("folder/../folder")]) == [1 + 2j, 0j]
    assert known(tmp_path / "work", files, part="0 3.5") == [None] * 3


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"12"),
        lambda path: os.utime(path, ns=(0, 0)),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.symlink_to("nowhere")),
        lambda path: (path.unlink(), path.symlink_to(path)),
    ],
    ids=["other size", "other time", "gone", "link to nowhere", "link to itself"],
)
def test_a_file_that_changes_is_not_known(tmp_path: Path, files: list[Path], change: Callable[[Path], object]) -> None:
    fill(tmp_path / "work", files, 1j, 2j, 3j)
    with closing(numbers(tmp_path / "work", "me")) as cache:
        cache.get(files[0])
        assert signature(files[0]) == cache.signature(files[0])
        change(files[0])
        assert signature(files[0]) != cache.signature(files[0])
    assert known(tmp_path / "work", files) == [None, 2j, 3j]


def test_signatures_of_a_listing_are_those_of_its_regular_files(tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    every = [*files[:2], files[2] / "1.png"]
    assert signatures(entries(tmp_path)) == {str(path): signature(path) for path in every}
    listing = list(entries(tmp_path))
    files[0].unlink()
    assert signatures(listing).keys() == {str(path) for path in every[1:]}


def test_a_folder_changes_with_the_files_in_it(tmp_path: Path, files: list[Path]) -> None:
    fill(tmp_path / "work", files, 1j, 2j, 3j)
    (files[2] / "2.png").touch()
    assert known(tmp_path / "work", files) == [1j, 2j, None]


def test_what_is_put_in_is_of_the_file_as_it_was_before_it_was_read(tmp_path: Path, files: list[Path]) -> None:
    with closing(numbers(tmp_path / "work", "me")) as cache:
        cache.get(files[0])
        files[0].write_bytes(b"while it was read")
        cache.put(files[0], 1j)
    assert known(tmp_path / "work", files[:1]) == [None]


def test_what_others_made_is_removed_and_what_is_hidden_stays(tmp_path: Path, files: list[Path]) -> None:
    fill(tmp_path / "work", files, 1j, 2j, 3j)
    (tmp_path / "work" / "shards").mkdir()
    (tmp_path / "work" / ".lock").touch()
    assert known(tmp_path / "work", files, "others") == [None] * 3
    assert not (tmp_path / "work" / "shards").exists()
    assert (tmp_path / "work" / ".lock").exists()


def test_files_that_are_not_asked_for_are_forgotten(tmp_path: Path, files: list[Path]) -> None:
    fill(tmp_path / "work", files, 1j, 2j, 3j)
    with closing(numbers(tmp_path / "work", "me")) as cache:
        assert [cache.get(path) for path in files[1:]] == [2j, 3j]
        cache.forget_others()
    assert known(tmp_path / "work", files) == [None, 2j, 3j]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_ingest_cache import numbers
cache = numbers(Path(sys.argv[1]), "me")
for number, path in enumerate(map(Path, sys.argv[2:])):
    cache.get(path)
    cache.put(path, complex(number))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_put_in_is_there(tmp_path: Path, files: list[Path]) -> None:
    script = KILLED.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", script, tmp_path / "work", *files[:2]]
    killed = subprocess.run(command, cwd=CODE, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert known(tmp_path / "work", files) == [0j, 1 + 0j, None]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 4096])
def test_a_damaged_table_is_begun_anew(tmp_path: Path, files: list[Path], content: bytes) -> None:
    fill(tmp_path / "work", files, 1j, 2j, 3j)
    (tmp_path / "work" / "found.sqlite").write_bytes(content)
    assert known(tmp_path / "work", files) == [None] * 3
    fill(tmp_path / "work", files, 1j, 2j, 3j)
    assert known(tmp_path / "work", files) == [1j, 2j, 3j]


def test_a_table_damaged_inside_is_begun_anew(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.h5" for number in range(2000)]
    for path in files:
        path.touch()
    fill(tmp_path / "work", files, *map(complex, range(2000)))
    table = tmp_path / "work" / "found.sqlite"
    whole = table.read_bytes()
    assert len(whole) > 20 * 4096
    for page in (3, 10, 17):
        table.write_bytes(whole[: page * 4096] + b"\xff" * 4096 + whole[(page + 1) * 4096 :])
        assert known(tmp_path / "work", files) == [None] * 2000
        fill(tmp_path / "work", files, *map(complex, range(2000)))
        assert known(tmp_path / "work", files) == [complex(number) for number in range(2000)]
