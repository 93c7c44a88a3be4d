"""What is copied while all goes on is whole, and works in its place again."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from archive import moving_cells
from conftest import write_params

from pipelines.common.errors import UserError
from pipelines.common.files import exclusive
from pipelines.common.login import read_login
from pipelines.common.rights import Rights
from pipelines.operation import backup as of_backup
from pipelines.operation.backup import backup
from pipelines.operation.live_store import LiveStore

FRAMES = moving_cells("2024-06-01T12:00:00", 4, shape=(32, 32))
RIGHTS = Rights("CC0-1.0")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    checkout = tmp_path / "check%41out?#"
    (checkout / "mlflow/artifacts/1").mkdir(parents=True)
    (checkout / "dvc.yaml").touch()
    near, far = {"archive": "days/near", "model": "rain-model"}, {"store": str(tmp_path / "disk/live")}
    write_params(checkout, {"near": near, "far": far})
    (checkout / "rain-model").mkdir()
    (checkout / "rain-model/model.json").write_text("{}")
    (checkout / "mlflow/artifacts/1/model.json").write_text("{}")
    (checkout / "data/out/near/ledger").mkdir(parents=True)
    (checkout / "data/out/near/ledger/a.parquet").write_text("rows")
    (checkout / "data/out/near/ledger/.b.parquet.1.partial.parquet").symlink_to("gone-meanwhile")
    (checkout / "data/out/near/20240601T120000Z").mkdir()
    (checkout / "days").mkdir()
    (checkout / "days/near.dvc").write_text("outs: []")
    LiveStore(checkout / "data/store/near", RIGHTS).append(FRAMES[:3])
    LiveStore(tmp_path / "disk/live", RIGHTS).append(FRAMES)
    monkeypatch.chdir(checkout)
    return checkout


def test_a_copy_that_is_put_back_is_as_it_was(checkout: Path, tmp_path: Path) -> None:
    login = read_login(checkout)
    with closing(sqlite3.connect(checkout / "mlflow/mlflow.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE runs (name TEXT)")
        database.execute("INSERT INTO runs VALUES ('committed')")
        database.commit()
        database.execute("INSERT INTO runs VALUES ('not committed')")  # the server is in the middle of something
        backup(tmp_path / "copies")
    (copy,) = (tmp_path / "copies").iterdir()
    assert copy.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(checkout)
    shutil.copytree(copy, checkout)
    with closing(sqlite3.connect(checkout / "mlflow/mlflow.db")) as database:
        assert database.execute("SELECT name FROM runs").fetchall() == [("committed",)]
    assert read_login(checkout) == login
    assert (checkout / "days/near.dvc").read_text() == "outs: []"
    assert [path.name for path in (checkout / "data/out/near/ledger").iterdir()] == ["a.parquet"]
    assert (checkout / "mlflow/artifacts/1/model.json").read_text() == "{}"
    assert (checkout / "rain-model/model.json").read_text() == "{}"
    assert (checkout / "data/out/near/ledger/a.parquet").read_text() == "rows"
    assert not (checkout / "data/out/near/20240601T120000Z").exists(), "any program may copy those"
    near = LiveStore(checkout / "data/store/near", RIGHTS)
    np.testing.assert_array_equal(
        near.open()["rainfall_flux"], LiveStore(tmp_path / "disk/live", RIGHTS).open()["rainfall_flux"][:3]
    )
    assert near.append(FRAMES).new == [False, False, False, True]
    far = copy / "elsewhere" / (tmp_path / "disk/live").relative_to("/")
    assert LiveStore(far, RIGHTS).open().sizes["time"] == 4


def test_old_copies_go_and_a_failed_one_leaves_nothing(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "copies"
    for name in ("20240601T032000Z", "20240602T032000Z", "notes", "A-to-Z", "2019Z"):
        (copies / name).mkdir(parents=True)
    monkeypatch.setattr(of_backup, "exclusive", lambda path: exclusive(path, wait_s=0))
    with exclusive(checkout / "data/store/.near.lock"), pytest.raises(UserError, match=r"\.near\.lock: another writer"):
        backup(copies, keep=2)
    assert len(list(copies.iterdir())) == 5
    (copies / ".20240602T032000Z.99999999.partial").mkdir()  # of one that was killed: gigabytes, and the login
    backup(copies, keep=2)
    left = sorted(path.name for path in copies.iterdir())
    assert left.pop(2) > "20240602T032000Z"
    assert left == ["2019Z", "20240602T032000Z", "A-to-Z", "notes"], "others' folders stay"
