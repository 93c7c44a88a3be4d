"""The embedded MLflow store after its checkout was moved or copied: ``python -m pipelines.tracking.relocation``.

MLflow keeps the address of each artifact whole, ``file:///…/mlflow/artifacts/…``, and takes no relative one.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.common.errors import Unavailable, in_short
from pipelines.common.files import exclusive
from pipelines.common.provenance import main_checkout
from pipelines.common.stage import run

ADDRESSES = (  # columns of MLflow's tables
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def relocate(folder: Path) -> int:
    """Name the artifacts of a store where they lie now, those of experiments and versions of before too.

    Called by whoever holds the store's lock. What lies elsewhere by intention (S3, a server) is left as it is, and so
    is all where no artifacts came along.

    Parameters
    ----------
    folder : Path
        With ``mlflow.db`` and ``artifacts/``.

    Returns
    -------
    int
        How many addresses were changed; 0 where the store is where it was.
    """
    artifacts, database = folder / "artifacts", folder / "mlflow.db"
    if not (artifacts.is_dir() and database.is_file()):
        return 0
    here, changed = artifacts.as_uri(), 0
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables >= {table for table, _ in ADDRESSES}:
            return 0  # MLflow is the first to see it, or brings it up to date
        roots = connection.execute(
            "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:///%/mlflow/artifacts'"
        ).fetchall()
        for (root,) in roots:
            before = Path(unquote(urlsplit(root).path))
            # A link to here, from a checkout that shares this store, is no move, and a folder without a store beside it
            # was never this one's: it is where somebody wants artifacts.
            meant = before.exists() and (before.samefile(artifacts) or not before.with_name("mlflow.db").exists())
            if root == here or meant:
                continue
            for table, column in ADDRESSES:
                moved = connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (here, len(root) + 1, root, len(root) + 1, root + "/"),
                )
                changed += moved.rowcount
    return changed


def main() -> None:
    """Relocate the store of this checkout, where it has one."""
    folder = main_checkout() / "mlflow"
    if (folder / "mlflow.db").is_file():
        try:
            with exclusive(folder / ".lock"):
                changed = relocate(folder)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"{folder / 'mlflow.db'}: {in_short(error)}") from None
        if changed:
            print(f"mlflow/mlflow.db: {changed} addresses of artifacts follow this checkout")


if __name__ == "__main__":
    run(main)
