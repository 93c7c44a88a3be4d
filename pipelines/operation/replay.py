"""Replay an archive: its files come into an inbox at the pace at which they once came."""

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.common.files import atomic_path, no_file_inside
from pipelines.common.limits import Limits
from pipelines.common.progress import track
from pipelines.common.workers import guarded
from pipelines.radar.readers.read import radar_files, read_time

log = logging.getLogger(__name__)


def replay(
    folder: Path,
    inbox: Path,
    speed: float,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Iterator[tuple[Path, np.datetime64]]:
    """Copy the radar files of ``folder`` into ``inbox`` in time order, each whole or absent.

    The files stay as they are, their times too: what comes in is as old as it is.

    Parameters
    ----------
    folder : Path
        Searched with its subfolders; files that can't be read are told of in the log and passed over.
    inbox : Path
        Made where it isn't there yet.
    speed : float
        Times faster than the radar was: 60 replays an hour in a minute.

    Yields
    ------
    path, time
        The copy, and the time of its frame, as soon as it is there. The first one comes at once.

    Raises
    ------
    UserError
        If the folder has no radar file.
    """
    times: dict[Path, np.datetime64] = {}
    for path in track(radar_files(folder), "read times"):
        try:
            if outside := no_file_inside(path, folder):
                raise UnreadableFile(path, outside)
            times[path] = guarded(read_time, path, limits=limits)
        except UnreadableFile as error:
            log.warning("%s", error)
    if not times:
        raise UserError(f"{folder}: none of its files can be read")
    first, start = min(times.values()), time.monotonic()
    for path in sorted(times, key=lambda path: (times[path], path.name)):
        due = start + float((times[path] - first) / np.timedelta64(1, "s")) / speed
        time.sleep(max(0.0, due - time.monotonic()))
        with atomic_path(inbox / path.name) as temporary:
            shutil.copyfile(path, temporary)
        yield inbox / path.name, times[path]
