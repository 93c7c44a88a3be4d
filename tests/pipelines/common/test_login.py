"""The login of the servers: made once, for its owner alone."""

import subprocess
import threading
from pathlib import Path

import pytest

from pipelines.common.errors import UserError
from pipelines.common.login import FILE, read_login


def test_it_is_made_once_and_no_other_user_can_read_it(tmp_path: Path) -> None:
    first = read_login(tmp_path)
    assert read_login(tmp_path) == first
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / FILE).parent.iterdir()) == [tmp_path / FILE]
    user, _, password = first["PREFECT_API_AUTH_STRING"].partition(":")
    assert (user, password) == (first["MLFLOW_TRACKING_USERNAME"], first["MLFLOW_TRACKING_PASSWORD"])
    assert len(password) >= 32
    assert read_login(tmp_path / "another")["MLFLOW_TRACKING_PASSWORD"] != password


def test_a_shell_that_reads_the_file_hands_it_on(tmp_path: Path) -> None:
    login = read_login(tmp_path)
    script = f". ./{FILE}; env"
    shown = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert {f"{name}={value}" for name, value in login.items()} <= set(shown.splitlines())


def test_those_who_start_at_once_have_the_same(tmp_path: Path) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(read_login(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all(one == found[0] for one in found)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    read_login(tmp_path)
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(UserError, match=f"{FILE}: others can"):
        read_login(tmp_path)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_login(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: (tmp_path / FILE).stat().st_uid + 1)
    with pytest.raises(UserError, match=f"{FILE}: others can"):
        read_login(tmp_path)


def test_a_file_of_another_kind_is_refused_without_its_content(tmp_path: Path) -> None:
    read_login(tmp_path)
    (tmp_path / FILE).write_text("export PREFECT_API_AUTH_STRING=scs:secret\n")
    with pytest.raises(UserError, match="a variable is missing") as error:
        read_login(tmp_path)
    assert "secret" not in str(error.value)
