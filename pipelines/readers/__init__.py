"""Radar files of any known format as frames. The format is told by the content, not by the file's name."""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np

from pipelines.errors import UnreadableFile, UserError
from pipelines.frame import Frame
from pipelines.readers import cf, fmi, knmi, mch, odim
from pipelines.readers.measured import Header, to_rain_rate, utc

# A format's module has recognises(), header() and values(); all take an open HDF5 file, or else the content. One whose
# files may have several frames has headers() and values(file, number) instead.
HDF5_FORMATS = (odim, knmi, cf)
OTHER_FORMATS = (fmi, mch)
PARTIAL = (".partial", ".part", ".tmp", ".temp", ".crdownload", ".filepart", "~")


def radar_files(folder: Path) -> list[Path]:
    """All files below ``folder`` in sorted order, but hidden ones and those that a copy has not finished.

    Raises
    ------
    UserError
        If the folder isn't there, or has none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    files = [
        path
        for path in folder.rglob("*")
        # A link to nowhere is listed too, so that someone hears of it; a pipe would be waited on for ever.
        if (path.is_file() or (path.is_symlink() and not path.exists()))
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.name.lower().endswith(PARTIAL)
    ]
    if not files:
        raise UserError(f"{folder}: no file in it")
    return sorted(files)


def read_frame(path: Path, z_r: tuple[float, float], number: int | None = None) -> Frame:
    """Read a frame of a radar file.

    Parameters
    ----------
    path : Path
    z_r : tuple of float
        a and b of Z = a·R^b, for files of reflectivity.
    number : int, optional
        Which of the headers of :func:`read_headers`; without it, the file must have one frame alone.

    Raises
    ------
    UnreadableFile
        If it can't become a frame, whatever the reason.
    """
    source = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    with _unreadable(path):
        content = path.read_bytes()
        with _opened(content) as (format_, file):
            if hasattr(format_, "headers"):
                headers = format_.headers(file)
                header = _only(headers) if number is None else headers[number]
                values = format_.values(file, number or 0)
                source += f"#{number}" if len(headers) > 1 else ""
            else:
                header, values = format_.header(file), format_.values(file)
            rain_rate = to_rain_rate(values, header, z_r)
        _check_name(path, header)
        if rain_rate.shape != header.grid.shape:
            raise ValueError(f"{rain_rate.shape} pixels on a grid of {header.grid.shape}")
    return Frame(
        rain_rate,
        header.time,
        header.grid,
        header.time_is,
        header.interval_s,
        z_r if header.unit == "dBZ" else None,
        source,
        hashlib.sha256(content).hexdigest(),
    )


def read_headers(path: Path) -> list[Header]:
    """Read all but the pixels of a radar file, frame by frame; raises as :func:`read_frame` does."""
    with _unreadable(path):
        with _opened(path.read_bytes()) as (format_, file):
            headers = format_.headers(file) if hasattr(format_, "headers") else [format_.header(file)]
        for header in headers:
            _check_name(path, header)
    return headers


def read_header(path: Path) -> Header:
    """Read all but the pixels of a radar file of one frame; raises as :func:`read_frame`, but for the pixels."""
    with _unreadable(path):
        return _only(read_headers(path))


def read_time(path: Path) -> np.datetime64:
    """Time of the frame in a radar file, UTC to the second, without its pixels; raises as :func:`read_frame`."""
    return read_header(path).time


@contextmanager
def _opened(content: bytes) -> Iterator[tuple[ModuleType, Any]]:
    """Give the module for ``content``, and what its functions take."""
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"broken gzip: {error}") from error
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        with h5py.File(BytesIO(content), "r") as file:
            for format_ in HDF5_FORMATS:
                if format_.recognises(file):
                    yield format_, file
                    return
            raise ValueError("HDF5, but neither ODIM_H5, KNMI's nor CF netCDF")
    for format_ in OTHER_FORMATS:
        if format_.recognises(content):
            yield format_, content
            return
    if not content:
        raise ValueError("empty")
    if content.lstrip()[:1] == b"<":
        raise ValueError("a web page or XML, not radar data")
    raise ValueError(f"no radar format that is known: it starts with {content[:8]!r}")


@contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """Turn all that goes wrong with a file into `UnreadableFile`."""
    try:
        yield
    except UnreadableFile:
        raise
    except OSError as error:
        raise UnreadableFile(path, error.strerror or str(error)) from error
    # What a decoder raises on bytes that someone else broke can't be listed; the file is bad whatever it is.
    except Exception as error:
        reason = str(error.args[0]) if error.args and not isinstance(error, ValueError) else str(error)
        raise UnreadableFile(path, reason or type(error).__name__) from error


def _only(headers: list[Header]) -> Header:
    if len(headers) > 1:
        raise ValueError(f"{len(headers)} frames in one file; only `scs ingest` and the stage ingest_radar take such")
    return headers[0]


def _check_name(path: Path, header: Header) -> None:
    """Refuse a file whose name has times, none of which is its time: one of the two is wrong."""
    named = []
    minute, second = np.timedelta64(59, "s"), np.timedelta64(0, "s")
    for found in re.finditer(r"(?<!\d)((?:19|20)\d{6})[T_-]?(\d{4})(\d\d)?(?!\d)", path.name):
        with suppress(ValueError):  # digits that are no time
            named.append((utc(found[1] + found[2] + (found[3] or "")), second if found[3] else minute))
    for found in re.finditer(r"^[A-Z]{3}(\d{9})[A-Z]", path.name):  # MeteoSwiss
        with suppress(ValueError):
            named.append((mch.day_of_year(found[1]), minute))
    if named and not any(abs(moment - time) <= tolerance for time, tolerance in named for moment in header.moments):
        raise ValueError(f"its name says {named[0][0]}, and its content {header.time}")
