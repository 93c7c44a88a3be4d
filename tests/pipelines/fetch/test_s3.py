"""Files of a real S3 server, moto's, and of a folder."""

import hashlib
import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from s3_server import client, serve_s3
from s3fs import S3FileSystem

from pipelines.fetch import files, transfer
from pipelines.fetch.archive import fetch
from pipelines.fetch.pace import Pace
from pipelines.fetch.provider import Fetched
from pipelines.params.fetch import Fetch

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the bucket ``radar``; keys and address are in the environment, as a user has them."""
    with serve_s3("radar") as address:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "marked-1f0b7c52e6",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
        }.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        monkeypatch.setattr(files, "CHUNK", 1_000_000)
        monkeypatch.setattr(transfer, "backoff", lambda tries, after: 0.01)
        yield address


def bring(url: str, folder: Path, **changes: object) -> Fetched:
    settings = Fetch.model_validate({"url": url, "step_s": 120, "rate": 500.0} | changes)
    return fetch("x", settings, folder, datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 1, 0, 6, tzinfo=UTC))


@pytest.mark.full
def test_s3(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("20240601-000038", "20240601-000237", "20240602-000000"):
        client(s3).put_object(Bucket="radar", Key=f"c/20240601/{name}.gz", Body=CONTENT + name.encode())
    url = "s3://radar/c/%Y%m%d/%Y%m%d-%H%M*.gz"
    fetched = bring(url, tmp_path)
    assert (fetched.files, fetched.failed) == (2, [])
    assert fetched.missing == [("2024-06-01T00:04:00Z", "s3://radar/c/20240601/20240601-0004*.gz")]
    whole = CONTENT + b"20240601-000038"
    assert (tmp_path / "20240601/20240601-000038.gz").read_bytes() == whole
    assert bring(url, tmp_path).here == 2
    table = (tmp_path / ".manifest.csv").read_text()
    assert hashlib.sha256(whole).hexdigest() in table and "marked" not in table

    # It changes after the first part was read: what comes is the new one, whole.
    wait, waits = Pace.wait, []

    def changing(pace: Pace) -> None:
        waits.append(pace)
        if len(waits) == 3:  # one for its state, one for the first part
            client(s3).put_object(Bucket="radar", Key="changing.gz", Body=CONTENT[::-1])
        wait(pace)

    client(s3).put_object(Bucket="radar", Key="changing.gz", Body=CONTENT)
    monkeypatch.setattr(Pace, "wait", changing)
    assert fetch("x", Fetch(url="s3://radar/changing.gz", rate=500.0), tmp_path / "changing").files == 1
    assert (tmp_path / "changing/changing.gz").read_bytes() == CONTENT[::-1]

    # Of a bucket that isn't there no file is.
    assert fetch("x", Fetch(url="s3://nosuch/x.gz"), tmp_path / "none").missing == [("", "s3://nosuch/x.gz")]


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "from/2024").mkdir(parents=True)
    for minute in (0, 4):
        (tmp_path / f"from/2024/r_{minute:02}.h5").write_bytes(b"%d" % minute)
    url = f"{tmp_path}/from/%Y/r_%M.h5"
    fetched = bring(url, tmp_path / "to")
    assert fetched.files == 2 and [time for time, _ in fetched.missing] == ["2024-06-01T00:02:00Z"]
    assert (tmp_path / "to/2024/r_04.h5").read_bytes() == b"4"
    assert bring(f"file://{tmp_path}/from/%Y/r_*.h5", tmp_path / "all").files == 2


def test_a_path_may_have_braces(tmp_path: Path) -> None:
    (tmp_path / "{a}").mkdir()
    with tarfile.open(tmp_path / "{a}/all.tar", "w") as archive:
        archive.add(__file__, "r_00.py")
    fetched = bring(f"tar://r_%M.py::{tmp_path}/{{a}}/all.tar", tmp_path / "to")
    assert (fetched.files, len(fetched.missing)) == (1, 2)
    assert (tmp_path / "to/all.tar/r_00.py").read_bytes() == Path(__file__).read_bytes()


def test_what_broke_off_in_a_folder_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.h5").write_bytes(CONTENT)
    monkeypatch.setattr(files, "CHUNK", 1_000_000)
    monkeypatch.setattr(transfer, "backoff", lambda tries, after: 0.0)
    read, starts = LocalFileSystem.cat_file, []

    def broken(self: LocalFileSystem, path: str, start: int, end: int) -> bytes:
        starts.append(start)
        if start == 1_000_000 and len(starts) <= 7:
            raise OSError(5, "Input/output error")
        return read(self, path, start, end)

    monkeypatch.setattr(LocalFileSystem, "cat_file", broken)
    settings = Fetch(url=f"{tmp_path}/x.h5", rate=500.0)
    assert "Input/output error" in fetch("x", settings, tmp_path / "to").failed[0]
    assert starts == [0] + [1_000_000] * 6
    assert fetch("x", settings, tmp_path / "to").files == 1
    assert starts[7:] == [1_000_000, 2_000_000]
    assert (tmp_path / "to/x.h5").read_bytes() == CONTENT
