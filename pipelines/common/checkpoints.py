"""Where unfinished work is kept, so that the same command on the same data goes on from there."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import exclusive
from pipelines.common.provenance import main_checkout


def checkpoint_folder(name: str, settings: Mapping[str, Any], data: str) -> Path:
    """Return the folder of a work's checkpoints: one for the same settings and the same digest of its data."""
    key = hashlib.sha256((json.dumps(settings, sort_keys=True) + data).encode()).hexdigest()
    return main_checkout() / "data" / "checkpoints" / f"{name}-{key[:16]}"


@contextmanager
def unfinished(name: str, settings: Mapping[str, Any], data: str) -> Iterator[Path]:
    """Have the folder of `checkpoint_folder` to oneself while the block runs.

    It goes when the block ends, well or by an error that would come again; interrupted or killed, it stays.

    Raises
    ------
    UserError
        If it can't be made.
    Unavailable
        If another process is at the same work.
    """
    folder = checkpoint_folder(name, settings, data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {in_short(error)}") from None
    with exclusive(folder / "lock", wait_s=0.0):
        try:
            yield folder
        except UserError:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
