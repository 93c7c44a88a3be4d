"""A copy of what can't be made again and changes while it is copied: ``python -m pipelines.operation.backup FOLDER``.

While all goes on: databases by SQLite's own backup, live stores while nobody appends, and settings, versions of data,
MLflow's artifacts and ledgers, whose files are whole or absent. Forecasts, ``inbox-done`` and the archive are files
that never change: any program may copy them. A copy has the checkout's layout, so that to restore is to copy it back;
what lies elsewhere is under ``elsewhere/``, by its whole path.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.files import atomic_path, exclusive
from pipelines.common.login import FILE
from pipelines.common.provenance import main_checkout
from pipelines.common.stage import run
from pipelines.operation.ledger import FORMATS
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.latest import LATEST
from pipelines.operation.products.names import STAMP
from pipelines.params.read import read_params

DATABASES = "mlflow/mlflow.db", "data/prefect/prefect.db"
FILES = "params.yaml", "prefect.yaml", "dvc.lock", ".dvc/config", str(FILE)
ELSEWHERE = "elsewhere"
UNFINISHED = shutil.ignore_patterns(".*.partial*")  # see `atomic_path`


def backup(
    into: Path,
    keep: Annotated[int | None, typer.Option(min=1, help="copies that stay, the newest; all by default")] = None,
) -> None:
    """Copy into a folder of its own in ``into``, named by the time, UTC: all of it or nothing; then remove old ones."""
    checkout = main_checkout()
    target = into / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with atomic_path(target, names=STAMP) as temporary:
        temporary.mkdir(0o700)  # the login is in it
        for name in DATABASES:
            if (checkout / name).exists():
                _copy_database(checkout / name, _place(checkout / name, checkout, temporary))
            else:
                print(f"{checkout / name}: not there, so not in the copy")
        for path in _files(checkout):
            place = _place(path, checkout, temporary)
            if path.is_dir():
                shutil.copytree(path, place, ignore=UNFINISHED)
            else:
                shutil.copy2(path, place)
        for domain in read_params(checkout / "params.yaml").domains.values():
            live = LiveStore.of(domain)
            store = checkout / live.path
            if store.is_dir():
                with exclusive(store.with_name(f".{store.name}.lock")):
                    shutil.copytree(store, _place(store, checkout, temporary))
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1e6:.0f} MB")
    copies = sorted(path for path in into.iterdir() if STAMP.fullmatch(path.name) and path.is_dir())
    for old in copies[:-keep] if keep else []:
        shutil.rmtree(old)
        print(f"{old}: removed")


def _files(checkout: Path) -> Iterator[Path]:
    """Yield files and folders that are copied as they are, which are there."""
    domains = read_params(checkout / "params.yaml").domains.values()
    out = {checkout / domain.out for domain in domains}
    wanted = [checkout / name for name in (*FILES, "mlflow/artifacts")]
    of_domains = (checkout / f"{domain.archive}.dvc" for domain in domains if domain.archive)
    wanted += {*checkout.glob("archive/*.dvc"), *of_domains}
    wanted += [folder / name for folder in sorted(out) for name in (*FORMATS, LATEST)]
    models = (checkout / domain.model for domain in domains)
    wanted += {folder for folder in models if (folder / "model.json").is_file()}  # exported, perhaps from elsewhere
    yield from (path for path in wanted if path.exists())


def _place(path: Path, checkout: Path, copy: Path) -> Path:
    """Return where a path goes in a copy; the folder that it lies in is made."""
    inside = path.is_relative_to(checkout)
    place = copy / path.relative_to(checkout) if inside else copy / ELSEWHERE / path.relative_to(path.anchor)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _copy_database(path: Path, place: Path) -> None:
    address = f"{path.as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(place)) as copy:
        source.backup(copy)


if __name__ == "__main__":
    run(backup)
