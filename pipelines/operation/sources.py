"""Frames that a forecast may be made from, where they are: in a live store, or in a folder of radar files."""

import logging
from pathlib import Path

import numpy as np
import xarray as xr

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.common.files import no_file_inside
from pipelines.common.progress import track
from pipelines.common.rights import Rights
from pipelines.common.workers import Failure, decoders, guarded
from pipelines.operation.inputs import Source
from pipelines.params.radar import SILENT, FileHints, IngestRadar
from pipelines.radar.decoding import decode
from pipelines.radar.frame import Frame
from pipelines.radar.readers.read import radar_files, read_time
from pipelines.radar.store import difference, frames_of

log = logging.getLogger(__name__)


def of_store(stored: xr.Dataset, name: str) -> Source:
    """Frames of an opened store, whose folder is ``name``."""
    rights = Rights.of(stored.attrs)
    return Source(name, stored["time"].to_numpy(), lambda time: frames_of(stored.sel(time=[time]))[0], rights)


def of_folder(folder: Path, params: IngestRadar, hints: FileHints = SILENT, rights: Rights | None = None) -> Source:
    """Frames of a folder of radar files; of several of the same time and kind the first by name.

    Files that can't be read are told of in the log and passed over; ``hints`` are what the user says of them,
    and ``rights`` theirs, if not those of ``params``.

    Raises
    ------
    UserError
        If none can be read. To read the frame of a time raises it, too, if its files are not of one grid and kind.
    """
    found = radar_files(folder)
    unreadable = [UnreadableFile(path, outside) for path in found if (outside := no_file_inside(path, folder))]
    files = [path for path in found if not no_file_inside(path, folder)]
    paths: dict[np.datetime64, list[Path]] = {}
    answers = decoders(params.limits).map(read_time, [(path.absolute(), hints) for path in files])
    for path, answer in zip(track(files, "read times"), answers, strict=True):
        if isinstance(answer, Failure):
            unreadable.append(UnreadableFile(path, answer.reason))
        else:
            paths.setdefault(answer.astype("datetime64[s]"), []).append(path)
    if not paths:
        raise UserError(f"{folder}: none of its {len(found)} file(s) is a radar file that can be read; {unreadable[0]}")
    for passed_over in unreadable:
        log.warning("%s", passed_over)

    def read(time: np.datetime64) -> Frame:
        # A file whose header is good and whose pixels are not is found only now.
        frames = list[Frame]()
        for path in paths[time]:
            try:
                frames.append(guarded(decode, path, None, params, hints, limits=params.limits)[0])
            except UnreadableFile as error:
                if path == paths[time][-1] and not frames:
                    raise
                log.warning("%s", error)
        for other in frames[1:]:
            if words := difference(frames[0], other):
                raise UserError(f"{other.source}: not as {frames[0].source}: {words}")
        return frames[0]

    return Source(
        str(folder), np.array(list(paths), "datetime64[s]"), read, rights or Rights(params.license, params.attribution)
    )
