"""Hashes by which one walks from a forecast to its files, and where the main checkout is."""

import hashlib
import os
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.common.provenance import (
    FileSignature,
    code_commit,
    code_sha256,
    dvc_md5,
    fingerprint,
    main_checkout,
    sha256,
)


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than is read at once
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").touch()
    # The digest of nothing, as FIPS 180-4's examples have it.
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_hash_of_a_folder_is_its_files_names_and_contents(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> str:
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        return sha256(tmp_path / name)

    one = folder("one", {"a.json": "1", "deep/b.bin": "2"})
    lines = "".join(
        f"{path}\0{hashlib.sha256(text).hexdigest()}\n" for path, text in (("a.json", b"1"), ("deep/b.bin", b"2"))
    )
    assert one == hashlib.sha256(lines.encode()).hexdigest()
    assert folder("another place", {"deep/b.bin": "2", "a.json": "1"}) == one
    assert folder("other content", {"a.json": "1", "deep/b.bin": "3"}) != one
    assert folder("other name", {"a.json": "1", "deep/c.bin": "2"}) != one
    assert folder("swapped", {"a.json": "2", "deep/b.bin": "1"}) != one
    assert folder("one more", {"a.json": "1", "deep/b.bin": "2", "c": ""}) != one


def test_the_fingerprint_of_a_folder_changes_with_its_files(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b"
    file.parent.mkdir()
    file.write_bytes(b"1")
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    os.utime(file, ns=(0, 1))
    second = fingerprint(tmp_path)
    (tmp_path / "c").touch()
    assert len({first, second, fingerprint(tmp_path)}) == 3


def test_a_file_is_the_same_while_size_and_time_of_change_are(tmp_path: Path) -> None:
    file, link = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"123")
    os.utime(file, ns=(5, 7))
    link.symlink_to(file)
    assert FileSignature.of(file) == FileSignature.of(link) == (3, 7)
    file.unlink()
    assert FileSignature.of(link).size == len(str(file))  # of the link itself, so that one can move it away
    with pytest.raises(FileNotFoundError):
        FileSignature.of(file)


def test_the_digest_of_code_is_its_files_and_its_libraries() -> None:
    def lines(*files: str) -> str:
        root = Path(__file__).parents[3]
        return "\n".join(f"{file} {hashlib.sha256((root / file).read_bytes()).hexdigest()}" for file in files)

    common = [f"pipelines/common/{name}.py" for name in ("__init__", "errors", "extras", "text")]
    text = lines("pipelines/__init__.py", *common)
    assert code_sha256("pipelines.common.text") == hashlib.sha256(text.encode()).hexdigest()
    with_numpy = f"{text}\nnumpy {version('numpy')}".encode()
    assert code_sha256("pipelines.common.text", libraries=["numpy"]) == hashlib.sha256(with_numpy).hexdigest()


def test_the_commit_is_git_s() -> None:
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?|unknown", code_commit())


def test_without_git_no_commit_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert code_commit() == "unknown"


def test_the_main_checkout_is_found_from_its_folders_and_from_an_experiment_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    for folder in ("data/raw", ".dvc/tmp/exps/tmpab12/data"):
        (repository / folder).mkdir(parents=True)
    (repository / "dvc.yaml").touch()
    (repository / ".dvc/tmp/exps/tmpab12/dvc.yaml").touch()
    for inside in (".", "data/raw", ".dvc/tmp/exps/tmpab12", ".dvc/tmp/exps/tmpab12/data"):
        monkeypatch.chdir(repository / inside)
        assert main_checkout() == repository.resolve()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main_checkout() == Path(__file__).resolve().parents[3]


LOCK = """schema: '2.0'
stages:
  simulate:
    cmd: python -m pipelines.radar.simulate
  ingest_radar:
    cmd: python -m pipelines.radar.ingest
    deps: [{path: data/raw, hash: md5, md5: 0d.dir}]
    outs:
    - path: data/zarr/radar.zarr
      hash: md5
      md5: 4c1f.dir
    - path: data/quality/radar.quarantine.csv
      hash: md5
      md5: 99ab
"""


@pytest.mark.parametrize(
    ("lock", "path", "md5"),
    [
        (LOCK, "data/zarr/radar.zarr", "4c1f.dir"),
        (LOCK, "data/quality/radar.quarantine.csv", "99ab"),
        (LOCK, "data/raw", "none"),
        ("", "data/zarr/radar.zarr", "none"),
        (None, "data/zarr/radar.zarr", "none"),
    ],
)
def test_the_hash_that_dvc_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str | None, path: str, md5: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if lock is not None:
        Path("dvc.lock").write_text(lock)
    assert dvc_md5(Path(path)) == md5
