"""Radar files of any known format as frames. The format is told by the content, not by the file's name."""

import gzip
import hashlib
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

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.common.files import as_text
from pipelines.radar.frame import Frame
from pipelines.radar.readers import cf, fmi, knmi, mch, meteonet, odim, radolan, raster
from pipelines.radar.readers.header import NAMED_TIME, Header, to_rain_rate, utc

# A format's module has recognises(), header() and values(); all take an open HDF5 file, or else the content. One whose
# files may have several frames has headers() and values(file, number) instead.
HDF5_FORMATS = (odim, knmi)
OTHER_FORMATS = (fmi, mch, radolan, cf)
NAMED_FORMATS = (raster, meteonet)  # what these take has the name too
ZARR_MARKS = ("zarr.json", ".zgroup")
PARTIAL = (".partial", ".part", ".tmp", ".temp", ".crdownload", ".filepart", "~")


def radar_files(folder: Path, *, stores: bool = False) -> list[Path]:
    """All files below ``folder`` in sorted order, but hidden ones and those that a copy has not finished.

    With ``stores``, Zarr stores too, each by its folder, and not the files in it.

    Raises
    ------
    UserError
        If the folder isn't there, or has none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = list(folder.rglob("*"))
    inside: list[Path] = []
    if stores:
        for mark in sorted((path for path in found if path.name in ZARR_MARKS), key=lambda mark: mark.parent):
            hidden = any(part.startswith(".") for part in mark.parent.relative_to(folder).parts)
            if not hidden and not any(mark.is_relative_to(store) for store in inside):
                inside.append(mark.parent)
    files = inside + [
        path
        for path in found
        # A link to nowhere is listed too, so that someone hears of it; a pipe would be waited on for ever.
        if (path.is_file() or (path.is_symlink() and not path.exists()))
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.name.lower().endswith(PARTIAL)
        and not any(path.is_relative_to(store) for store in inside)
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
    source = as_text(path.name)
    with _unreadable(path):
        content, digest = _content(path)
        with _opened(content, path.name) as (format_, file):
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
        digest,
    )


def read_headers(path: Path) -> list[Header]:
    """Read all but the pixels of a radar file, frame by frame; raises as :func:`read_frame` does."""
    with _unreadable(path):
        with _opened(_content(path)[0], path.name) as (format_, file):
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


def _content(path: Path) -> tuple[bytes | Path, str]:
    """Return a file's content, or the path of a Zarr store, and the SHA-256 of it, with a store's names."""
    if not any((path / mark).exists() for mark in ZARR_MARKS):
        content = path.read_bytes()
        return content, hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        digest.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode() + file.read_bytes())
    return path, digest.hexdigest()


@contextmanager
def _opened(content: bytes | Path, name: str) -> Iterator[tuple[ModuleType, Any]]:
    """Return the module for ``content``, and what its functions take."""
    if isinstance(content, Path):
        yield cf, content
        return
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
        if not cf.recognises(content):
            raise ValueError("HDF5, but neither ODIM_H5, KNMI's nor CF netCDF")
    for format_ in (*OTHER_FORMATS, *NAMED_FORMATS):
        if format_.recognises(content):
            yield format_, raster.Named(content, name) if format_ in NAMED_FORMATS else content
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
    for found in NAMED_TIME.finditer(path.name):
        with suppress(ValueError):  # digits that are no time
            named.append((utc(found[1] + found[2] + (found[3] or "")), second if found[3] else minute))
    for found in re.finditer(r"^[A-Z]{3}(\d{9})[A-Z]", path.name):  # MeteoSwiss
        with suppress(ValueError):
            named.append((mch.day_of_year(found[1]), minute))
    for found in re.finditer(r"-(\d{10})-dwd-", path.name):
        with suppress(ValueError):
            named.append((utc(f"20{found[1]}"), minute))
    if named and not any(abs(moment - time) <= tolerance for time, tolerance in named for moment in header.moments):
        raise ValueError(f"its name says {named[0][0]}, and its content {header.time}")
