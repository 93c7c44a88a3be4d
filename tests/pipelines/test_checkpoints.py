"""What is left of unfinished work, and who may go on with it."""

import multiprocessing
from pathlib import Path

import pytest

from pipelines.checkpoints import checkpoint_folder, unfinished
from pipelines.errors import Unavailable, UserError


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


def take() -> None:
    with pytest.raises(Unavailable, match="lock: another writer"), unfinished("work", {}, ""):
        pass


def test_two_processes_are_not_at_the_same_work() -> None:
    with unfinished("work", {}, ""):
        other = multiprocessing.Process(target=take)
        other.start()
        other.join()
        assert other.exitcode == 0


def test_where_no_folder_can_be_made_one_line_says_so() -> None:
    Path("data").touch()
    with pytest.raises(UserError, match=r"data/checkpoints/work-\w+: "), unfinished("work", {}, ""):
        pass
