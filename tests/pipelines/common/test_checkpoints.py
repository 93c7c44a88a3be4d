"""What is left of unfinished work, and who may go on with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.common.checkpoints import checkpoint_folder, unfinished
from pipelines.common.errors import UserError


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)


def test_other_settings_or_data_have_another_folder() -> None:
    folders = {checkpoint_folder("work", {"a": a}, data) for a in (1, 2) for data in ("x", "y")}
    assert len(folders) == 4
    assert checkpoint_folder("work", {"a": 1, "b": 2}, "x") == checkpoint_folder("work", {"b": 2, "a": 1}, "x")


@pytest.mark.parametrize(("error", "stays"), [(KeyboardInterrupt, True), (OSError, True), (UserError, False)])
def test_the_folder_stays_only_where_another_try_can_use_it(error: type[BaseException], stays: bool) -> None:
    with pytest.raises(error), unfinished("work", {}, "") as folder:
        (folder / "half").touch()
        raise error
    assert (folder / "half").exists() is stays
    with unfinished("work", {}, "") as again:
        assert again == folder
        assert (again / "half").exists() is stays
    assert not folder.exists()


def test_two_processes_are_not_at_the_same_work() -> None:
    code = "from pipelines.common.checkpoints import unfinished\nwith unfinished('work', {}, ''): pass"
    other = [sys.executable, "-c", code]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with unfinished("work", {}, ""):
        refused = subprocess.run(other, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "Unavailable: " in refused.stderr
    assert "lock: another writer" in refused.stderr
    subprocess.run(other, env=env, check=True)


def test_where_no_folder_can_be_made_one_line_says_so() -> None:
    Path("data").touch()
    with pytest.raises(UserError, match=r"data/checkpoints/work-\w+: "), unfinished("work", {}, ""):
        pass
