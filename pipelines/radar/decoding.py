"""What a worker does with a radar file on its way into the archive, the live store or a forecast.

In a module of its own: a worker finds a function by its module's name, and a stage's module is run as ``__main__``.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from pipelines.common.errors import UserError, as_unreadable
from pipelines.common.limits import TooLarge
from pipelines.params.radar import SILENT, FileHints, IngestRadar, Regrid
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.frame import Frame, PackedRain, packed
from pipelines.radar.quality import Quality, control, describe
from pipelines.radar.readers.archive_file import Members
from pipelines.radar.readers.containment import check_contained
from pipelines.radar.readers.georeference import crs_of
from pipelines.radar.readers.header import Header, check_pixels
from pipelines.radar.readers.radar_file import RadarFile
from pipelines.radar.readers.read import read_frame, read_headers, read_members
from pipelines.radar.regridding import check_target, regrid


def survey(path: Path, hints: FileHints, onto: Regrid | None) -> Members | tuple[list[Header], str]:
    """Return the members of an archive file, or what is in any other; raises as :func:`read_headers` does.

    A header whose grid can't be brought ``onto`` another says so in its refusal.
    """
    members = read_members(path)
    if members is not None:
        return members
    headers, sha256 = read_headers(path, hints)
    with as_unreadable(path):
        return [replace(header, refusal=header.refusal or _refusal(header, onto)) for header in headers], sha256


def decode(
    path: Path, number: int | None, params: IngestRadar, hints: FileHints = SILENT, sha256: str | None = None
) -> tuple[Frame, Quality]:
    """Read a frame, control its quality and bring it onto its grid; raises as :func:`read_frame` does.

    Raises
    ------
    UserError
        If ``regrid.crs`` is no projection.
    """
    z_r, onto = hints.z_r or params.z_r, hints.regrid or params.regrid
    if hints.min_quality is None:
        hints = hints.model_copy(update={"min_quality": params.min_quality})
    frame = read_frame(path, (z_r.a, z_r.b), number, sha256, hints)
    with as_unreadable(path):
        frame, quality = control(frame, params.max_rate, params.above_max_rate)
        if onto is None:
            return frame, quality
        frame = regrid(frame, onto)
        return frame, describe(frame.rain_rate, quality.maximum, quality.clipped)


def decode_packed(
    path: Path, number: int, params: IngestRadar, hints: FileHints, sha256: str
) -> tuple[PackedRain, str, Quality]:
    """Return the pixels that :func:`decode` does as a store has them, the hex digest of its rain rates, its quality."""
    frame, quality = decode(path, number, params, hints, sha256)
    with as_unreadable(path):  # that takes memory, too
        return packed(frame.rain_rate), hashlib.sha256(frame.rain_rate.tobytes()).hexdigest(), quality


def is_store_of_frames(path: Path) -> bool:
    """Return whether a path, someone's, is a store as ingestion writes it.

    Raises
    ------
    UnreadableFile
        If it is Zarr that leads out of itself, or all of it but the pixels, or a frame of those, is too large.
    """
    from pipelines.radar.store import open_frames  # here: what decodes files starts in half the time without xarray

    if not (path / "zarr.json").exists():
        return False
    with as_unreadable(path):
        check_contained(RadarFile(path))
        try:
            frames = open_frames(path)
        except UserError:
            return False
        crs_of(frames["crs"].attrs["crs_wkt"])
        check_pixels(frames.sizes["y"], frames.sizes["x"])
        frames = frames.drop_vars("rainfall_flux").load()
        try:
            grid_of(frames)
        except ValueError:  # from south to north, say, which the reader of CF turns
            return False
        return True


def _refusal(header: Header, onto: Regrid | None) -> str | None:
    """Return why a header's grid can't be brought onto another."""
    try:
        if onto is not None:
            check_target(header.grid, onto)
    except TooLarge:
        raise  # by these limits, so that nobody may keep it
    except ValueError as error:
        return str(error)
    return None
