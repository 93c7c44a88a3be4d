"""Radar files of any known format as frames. The format is told by the content, not by the file's name."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyproj

from pipelines.common.errors import UserError, as_unreadable
from pipelines.common.files import as_text, leaves, no_file_inside
from pipelines.params.radar import SILENT, FileHints
from pipelines.radar.cf_grid import crs_attributes
from pipelines.radar.frame import Frame
from pipelines.radar.grid import Grid
from pipelines.radar.readers import cf, fmi, geotiff, grib, knmi, mch, meteonet, odim, radolan
from pipelines.radar.readers.archive_file import ZARR_MARKS, ZIP, Members, list_members, passed_over, source_name
from pipelines.radar.readers.containment import check_contained
from pipelines.radar.readers.format import Format
from pipelines.radar.readers.header import Header, to_rain_rate
from pipelines.radar.readers.hints import check_hints, contradiction
from pipelines.radar.readers.names import check_name
from pipelines.radar.readers.radar_file import RadarFile

# What the user may say of files of some formats alone; the others fix it.
LEFT_OPEN: dict[str, tuple[Format, ...]] = dict.fromkeys(("variable", "nodata"), (cf, geotiff, grib, knmi, odim))
MOST_LON = 540.0  # degrees
MOST_SWOLLEN = 1e4  # times the area on earth; Mercator's at 85° is 130 times it, and kilometres as metres are far more
FORMATS: tuple[Format, ...] = (odim, knmi, fmi, mch, radolan, grib, geotiff, meteonet, cf)

Opened = tuple[Format, RadarFile, list[Header]]
_kept: dict[tuple[Path, str, str | None], Opened] = {}  # one at most


def radar_files(folder: Path, *, stores: bool = False, among: list[Path] | None = None) -> list[Path]:
    """Return all files below ``folder``, sorted, but hidden ones and those that a copy has not finished.

    What is no file is among them, and a folder that can't be listed: see `pipelines.common.files.no_file_inside`.
    With ``stores``, Zarr stores too, each by its folder, and not the files in it. With ``among``, of these
    paths alone.

    Raises
    ------
    UserError
        If the folder isn't there, or has none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = list(leaves(folder)) if among is None else among
    inside: set[Path] = set()
    if stores:
        for mark in sorted((path for path in found if path.name in ZARR_MARKS), key=lambda mark: mark.parent):
            hidden = any(part.startswith(".") for part in mark.parent.relative_to(folder).parts)
            if not hidden and inside.isdisjoint(mark.parents):
                inside.add(mark.parent)
    files = [*inside] + [
        path
        for path in found
        # What isn't to be read is listed too, so that someone hears of it; not a link to a folder in here.
        if (no_file_inside(path, folder) or not (path.is_symlink() and path.is_dir()))
        and not passed_over(path.relative_to(folder))
        and (not inside or inside.isdisjoint(path.parents))
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
    """Read a frame of a radar file; raises UnreadableFile if it can't become a frame, whatever the reason.

    Parameters
    ----------
    z_r : tuple of float
        a and b of Z = a·R^b, for files of reflectivity.
    number : int, optional
        Which of the headers of :func:`read_headers`; without it, the file must have one frame alone.
    sha256 : str, optional
        Hex digest of the file, where it is known already.
    hints : FileHints
        What the user says of the file.
    """
    with _opened(path, hints, sha256) as (format_, file, headers):
        number = _only(headers) if number is None else number
        header = headers[number]
        rain_rate = to_rain_rate(format_.values(file, number), header, z_r)
        if rain_rate.shape != header.grid.shape:
            raise ValueError(f"{rain_rate.shape} pixels on a grid of {header.grid.shape}")
        source = as_text(source_name(path)) + (f"#{number}" if len(headers) > 1 else "")
        about = header.of_frame(z_r, source, sha256 or file.sha256)
        return Frame(**vars(about), rain_rate=rain_rate)


def read_headers(path: Path, hints: FileHints = SILENT) -> tuple[list[Header], str]:
    """Return all but the pixels of a radar file, frame by frame, and its SHA-256; raises as :func:`read_frame` does."""
    with _opened(path, hints) as (_, file, headers):
        return headers, file.sha256


def read_header(path: Path, hints: FileHints = SILENT) -> Header:
    """Return all but the pixels of a radar file of one frame; raises as :func:`read_frame`, but for the pixels."""
    with _opened(path, hints) as (_, _, headers):
        return headers[_only(headers)]


def read_time(path: Path, hints: FileHints = SILENT) -> np.datetime64:
    """Return the time of the frame in a radar file, UTC to the second; raises as :func:`read_header`."""
    return read_header(path, hints).time


def read_members(path: Path) -> Members | None:
    """Return what `list_members` does; all that goes wrong is an `UnreadableFile`."""
    with as_unreadable(path):
        return list_members(path)


@contextmanager
def _opened(path: Path, hints: FileHints, sha256: str | None = None) -> Iterator[Opened]:
    """Open a file with the format that it has.

    One of several frames that is known by its hash stays open for its next frame: a day is opened once, not 288 times.
    """
    known = path, hints.model_dump_json(), sha256
    with as_unreadable(path), ExitStack() as closing:
        opened = _kept.pop(known, None)
        if opened is None:
            while _kept:  # before the next takes memory
                _kept.popitem()[1][1].close()
            file = RadarFile(path, hints)
            closing.callback(file.close)
            check_contained(file)
            format_ = _format_of(file)
            opened = format_, file, _headers(format_, file)
        else:
            closing.callback(opened[1].close)
        yield opened
        if sha256 is not None and len(opened[2]) > 1:
            _kept[known] = opened
            closing.pop_all()


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
    if file.content[257:262] == b"ustar" or file.content.startswith(ZIP):
        raise ValueError("an archive of files; only `scs ingest` and the stage ingest_radar take such")
    raise ValueError(f"no radar format that is known: it starts with {file.content[:8]!r}")


def _headers(format_: Format, file: RadarFile) -> list[Header]:
    """Return the headers of a file, with grids in metres.

    What the user says and the file's name mustn't contradict them, and what would be found to be wrong only when a
    frame is stored is refused here.
    """
    for key, formats in LEFT_OPEN.items():
        if getattr(file.hints, key) is not None and format_ not in formats:
            raise contradiction(key, getattr(file.hints, key), "leaves no choice")
    headers = format_.headers(file)
    if file.hints.time_pattern is None:
        check_name(file.name, headers)
    check_hints(file, headers)
    # Frames of a file share its grid: a day of them costs one look at it.
    in_metres = {grid: grid.in_metres() for grid in {header.grid for header in headers}}
    for grid in in_metres.values():
        _check_grid(grid)
    return [replace(header, grid=in_metres[header.grid]) for header in headers]


def _only(headers: list[Header]) -> int:
    """Return the number of the one frame that a file has, beside those that can't be taken."""
    numbers = [number for number, header in enumerate(headers) if header.refusal is None]
    if len(numbers) > 1:
        raise ValueError(f"{len(numbers)} frames in one file; only `scs ingest` and the stage ingest_radar take such")
    if not numbers:
        raise ValueError(headers[0].refusal)
    return numbers[0]


@lru_cache(maxsize=16)
def _check_grid(grid: Grid) -> None:
    H, W = grid.shape
    rows, columns = (np.unique(np.linspace(0, size - 1, 101).astype(int)) for size in (H, W))
    try:
        lon, lat = grid.lonlat(rows, columns)
    except pyproj.exceptions.ProjError as error:
        raise ValueError(f"a projection that PROJ can't compute: {error}") from None
    nowhere = ~(np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90) & (np.abs(lon) <= MOST_LON))
    if grid.crs.is_projected:  # the whole plane is somewhere on earth to many a projection
        swollen = np.asarray(pyproj.Proj(grid.crs).get_factors(lon, lat).areal_scale)
        nowhere |= ~(swollen <= MOST_SWOLLEN)
    if nowhere.any():
        row, column = np.argwhere(nowhere)[0]
        raise ValueError(f"its grid isn't on earth: neither is row {rows[row]}, column {columns[column]}")
    crs_attributes(grid.crs)
