"""A growing folder under a real DVC: recorded, pushed, and never forgotten."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.common.errors import Unavailable, UserError
from pipelines.operation.dvc_add import dvc_add


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def dvc(*arguments: str) -> str:
    return run(sys.executable, "-m", "dvc", *arguments)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file, in a repository of git and DVC."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    folder = tmp_path / "archive" / "here" / "2024"
    folder.mkdir(parents=True)
    (folder / "a.nc").write_text("a")
    run("git", "init", "-q")
    dvc("init", "-q")
    return tmp_path / "archive" / "here"


def test_what_is_new_is_recorded_and_pushed_and_what_is_gone_isnt_forgotten(archive: Path, tmp_path: Path) -> None:
    assert dvc_add(archive) == "in archive/here.dvc, which is to be committed"
    record = archive.with_name("here.dvc").read_text()
    assert dvc_add(archive) == "DVC knows all"
    dvc("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    (archive / "2024" / "b.nc").write_text("b")
    assert dvc_add(archive) == "in archive/here.dvc, which is to be committed and pushed"
    assert archive.with_name("here.dvc").read_text() != record
    assert len([path for path in (tmp_path / "remote").rglob("*") if path.is_file()]) == 3  # two files and a folder
    (archive / "2024" / "a.nc").unlink()
    with pytest.raises(UserError, match=r"DVC knows .*a\.nc, and it is gone: `dvc checkout here.dvc` restores it"):
        dvc_add(archive)
    dvc("checkout", "-q", "archive/here.dvc")
    assert (archive / "2024" / "a.nc").read_text() == "a" and (archive / "2024" / "b.nc").read_text() == "b"


def test_elsewhere_nothing_is_done_and_a_broken_dvc_is_told_of(archive: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside"
    outside.mkdir(exist_ok=True)
    assert dvc_add(outside) == "not under DVC"
    (tmp_path / ".dvc" / "config").write_text("[core\n")
    with pytest.raises(Unavailable, match=r"^dvc add "):
        dvc_add(archive)
