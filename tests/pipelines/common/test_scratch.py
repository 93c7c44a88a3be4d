"""Temporary folders: gone with their user, and after it was killed with the next one's start."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipelines.common.scratch import Scratch

KILLED = """
import os, signal
from pipelines.common.scratch import Scratch
(Scratch().folder / "gigabytes").write_bytes(b"0")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_is_killed_leaves_its_folder_to_the_next_one(temporary: Path) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED], env=os.environ | {"TMPDIR": str(temporary)}, check=False)
    assert run.returncode == -signal.SIGKILL
    (left,) = temporary.glob("scs-scratch-*")
    assert (left / "gigabytes").exists()
    scratch = Scratch()
    assert list(temporary.iterdir()) == [scratch.folder]
    scratch.remove()
    assert list(temporary.iterdir()) == []


def test_what_is_in_use_or_isn_t_ours_stays(temporary: Path) -> None:
    first, elsewhere = Scratch(), temporary / "precious"
    (first.folder / "file").touch()
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (temporary / "scs-scratch-link").symlink_to(elsewhere)
    (temporary / "forecast-2024").mkdir()
    second = Scratch()
    assert (first.folder / "file").exists() and (elsewhere / "file").exists() and (temporary / "forecast-2024").exists()
    first.remove()
    second.remove()
    assert {path.name for path in temporary.iterdir()} == {"precious", "scs-scratch-link", "forecast-2024"}
