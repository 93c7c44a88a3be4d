"""Radar files of any known format as frames. The format is told by the content, not by the file's name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.common.files import as_text
from pipelines.params.radar import SILENT, FileHints
from pipelines.radar.frame import Frame
from pipelines.radar.readers import cf, fmi, knmi, mch, meteonet, odim, radolan, raster
from pipelines.radar.readers.format import Format
from pipelines.radar.readers.header import NAMED_TIME, Header, to_rain_rate, utc
from pipelines.radar.readers.hints import check_hints
from pipelines.radar.readers.radar_file import ZARR_MARKS, RadarFile

FORMATS: tuple[Format, ...] = (odim, knmi, fmi, mch, radolan, raster, meteonet, cf)
PARTIAL = (".partial", ".part", ".tmp", ".temp", ".crdownload", ".filepart", "~")


def radar_files(folder: Path, *, stores: bool = False) -> list[Path]:
    """Return all files below ``folder``, sorted, but hidden ones and those that a copy has not finished.

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


def read_frame(
    path: Path,
    z_r: tuple[float, float],
    number: int | None = None,
    sha256: str | None = None,
    hints: FileHints = SILENT,
) -> Frame:
    """Read a frame of a radar file.

    Parameters
    ----------
    path : Path
    z_r : tuple of float
        a and b of Z = a·R^b, for files of reflectivity.
    number : int, optional
        Which of the headers of :func:`read_headers`; without it, the file must have one frame alone.
    sha256 : str, optional
        Hex digest of the file, where it is known already.
    hints : FileHints
        What the user says of the file.

    Raises
    ------
    UnreadableFile
        If it can't become a frame, whatever the reason.
    """
    with _opened(path, hints) as (format_, file):
        headers = _headers(format_, file)
        header = _only(headers) if number is None else headers[number]
        rain_rate = to_rain_rate(format_.values(file, number or 0), header, z_r)
        if rain_rate.shape != header.grid.shape:
            raise ValueError(f"{rain_rate.shape} pixels on a grid of {header.grid.shape}")
        source = as_text(path.name) + (f"#{number}" if len(headers) > 1 else "")
        about = header.of_frame(z_r, source, sha256 or file.sha256)
        return Frame(**vars(about), rain_rate=rain_rate)


def read_headers(path: Path, hints: FileHints = SILENT) -> tuple[list[Header], str]:
    """Return all but the pixels of a radar file, frame by frame, and its SHA-256; raises as :func:`read_frame` does."""
    with _opened(path, hints) as (format_, file):
        return _headers(format_, file), file.sha256


def read_header(path: Path, hints: FileHints = SILENT) -> Header:
    """Return all but the pixels of a radar file of one frame; raises as :func:`read_frame`, but for the pixels."""
    with _opened(path, hints) as (format_, file):
        return _only(_headers(format_, file))


def read_time(path: Path, hints: FileHints = SILENT) -> np.datetime64:
    """Return the time of the frame in a radar file, UTC to the second; raises as :func:`read_header`."""
    return read_header(path, hints).time


@contextmanager
def _opened(path: Path, hints: FileHints) -> Iterator[tuple[Format, RadarFile]]:
    """Open a file with the format that it has; all that goes wrong with it is an `UnreadableFile`."""
    try:
        file = RadarFile(path, hints)
        yield _format_of(file), file
    except UnreadableFile:
        raise
    except OSError as error:
        raise UnreadableFile(path, error.strerror or str(error)) from error
    # What a decoder raises on bytes that someone else broke can't be listed; the file is bad whatever it is.
    except Exception as error:
        reason = str(error.args[0]) if error.args and not isinstance(error, ValueError) else str(error)
        raise UnreadableFile(path, reason or type(error).__name__) from error


def _headers(format_: Format, file: RadarFile) -> list[Header]:
    """Return the headers of a file, which what the user says and the file's name mustn't contradict."""
    headers = format_.headers(file)
    for header in headers:
        check_hints(header, file.hints)
        _check_name(file.path, header)
    return headers


def _format_of(file: RadarFile) -> Format:
    for format_ in FORMATS:
        if format_.recognises(file):
            return format_
    if file.is_hdf5:
        raise ValueError("HDF5, but neither ODIM_H5, KNMI's nor CF netCDF")
    if not file.content:
        raise ValueError("empty")
    if file.content.lstrip()[:1] == b"<":
        raise ValueError("a web page or XML, not radar data")
    raise ValueError(f"no radar format that is known: it starts with {file.content[:8]!r}")


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
