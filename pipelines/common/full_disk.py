"""A disk that is full, told in one line with the path: libraries call it a broken file, or a lack of permission."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.common.errors import Unavailable, UserError

FULL = {errno.ENOSPC, errno.EDQUOT}
NEARLY = 64 << 20  # bytes; with less, and a library that has failed, that is why: it may have removed what it wrote


@contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Turn whatever is raised while the disk of ``path`` is full into an `Unavailable` that says so, with the path.

    Examples
    --------
    >>> with told_when_full(folder):
    ...     dataset.to_netcdf(folder / "forecast.nc")
    """
    try:
        yield
    except Unavailable:
        raise
    except Exception as error:
        if is_full(path, error):
            raise Unavailable(f"{path}: {os.strerror(errno.ENOSPC)}") from error
        raise


def is_full(path: Path, error: Exception) -> bool:
    """Return whether an error is that of a full disk: as it says, or what it came of, or as the disk is."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) in FULL or os.strerror(errno.ENOSPC) in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    there = next(one for one in (path, *path.absolute().parents) if one.is_dir())
    return not isinstance(error, UserError) and shutil.disk_usage(there).free < NEARLY
