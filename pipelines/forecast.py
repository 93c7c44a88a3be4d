"""From the newest frames to a forecast: which frames, which model, what comes out.

The command `scs forecast` and the hourly flow both come through here.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.progress import track

from pipelines.cadence import usual_step
from pipelines.decode import decode
from pipelines.errors import UnreadableFile, UserError
from pipelines.frame import Frame
from pipelines.frames import difference
from pipelines.product import forecast_dataset
from pipelines.readers import radar_files, read_time
from pipelines.readers.guarded import Failure, decoders, guarded
from pipelines.sections.radar import IngestRadar
from pipelines.tracking.registry import LoadedModel

log = logging.getLogger(__name__)


def choose_inputs(
    times: NDArray[np.datetime64], model: LoadedModel, where: object
) -> tuple[NDArray[np.datetime64], int]:
    """Choose the times of the frames that ``model`` needs, ending with the newest of ``times``.

    Parameters
    ----------
    times : ndarray of datetime64
        Of all frames at hand, in any order.
    model : LoadedModel
    where : object
        Where the frames are, for the error's words.

    Returns
    -------
    chosen : ndarray of datetime64, oldest first
    step_s : int
        Seconds from one of them to the next.

    Raises
    ------
    UserError
        If there are too few frames, one is missing among the newest, or they come at another step than the model's.
    """
    times = np.unique(times.astype("datetime64[s]"))
    count = model.description["inputs"]
    if times.size < max(count, 2):
        raise UserError(f"{where}: {times.size} frame(s), and {model.uri} needs {count}")
    step_s = usual_step(times[-max(2 * count, 12) :])
    wanted = model.description.get("step_seconds", step_s)
    if wanted != step_s:
        raise UserError(f"{where}: frames are {step_s} s apart, and {model.uri} forecasts in steps of {wanted} s")
    chosen = times[-1] - np.arange(count)[::-1] * np.timedelta64(step_s, "s")
    missing = chosen[~np.isin(chosen, times)]
    if missing.size:
        raise UserError(
            f"{where}: no frame of {', '.join(map(str, missing))} UTC, and {model.uri} needs "
            f"the {count} up to {times[-1]} without a gap"
        )
    return chosen, step_s


def newest_of_folder(folder: Path, model: LoadedModel, params: IngestRadar) -> tuple[list[Frame], int]:
    """Read the newest frames of a folder of radar files that ``model`` needs, and the seconds between them.

    Files that can't be read are told of in the log and passed over; of several of the same time and kind the first
    by name is taken.

    Raises
    ------
    UserError
        If there aren't enough good frames, or not all on one grid and of one kind.
    """
    files = radar_files(folder)
    times: dict[Path, np.datetime64] = {}
    unreadable: list[UnreadableFile] = []
    answers = decoders().map(read_time, [(path.absolute(),) for path in files])
    for path, answer in zip(track(files, "read times", transient=True), answers, strict=True):
        if isinstance(answer, Failure):
            unreadable.append(UnreadableFile(path, answer.reason))
        else:
            times[path] = answer
    if not times:
        raise UserError(f"{folder}: none of its {len(files)} file(s) is a radar file that can be read; {unreadable[0]}")
    for passed_over in unreadable:
        log.warning("%s", passed_over)
    frames: dict[Path, Frame] = {}
    # A file whose header is good and whose pixels are not is found when it is read: then choose anew without it.
    while True:
        chosen, step_s = choose_inputs(np.array(list(times.values()), "datetime64[s]"), model, folder)
        wanted = [path for path, time in times.items() if time in chosen]
        unread = next((path for path in wanted if path not in frames), None)
        if unread is None:
            break
        try:
            frames[unread], _ = guarded(decode, unread, None, params)
        except UnreadableFile as error:
            log.warning("%s", error)
            del times[unread]
    newest = max(wanted, key=lambda path: times[path])
    for path in wanted:
        if words := difference(frames[newest], frames[path]):
            raise UserError(f"{path}: not as {newest.name}: {words}")
    first_of = {times[path]: frames[path] for path in reversed(wanted)}
    return [first_of[time] for time in chosen], step_s


def forecast(
    frames: Sequence[Frame], step_s: int, model: LoadedModel, *, minutes: int = 60, snapshot: str = "none"
) -> xr.Dataset:
    """Forecast on the frames' own grid up to ``minutes`` ahead, in the frames' own steps.

    Parameters
    ----------
    frames : sequence of Frame
        Chosen by :func:`choose_inputs`, oldest first.
    step_s : int
        Seconds between them.
    model : LoadedModel
    minutes : int
        Longest lead time.
    snapshot : str
        State of the live store that the frames are from.

    Raises
    ------
    UserError
        If no lead time fits, or the newest frame has no valid pixel.
    """
    leads = minutes * 60 // step_s
    if leads < 1:
        raise UserError(f"no lead time up to {minutes} minutes in steps of {step_s} s")
    if not np.isfinite(frames[-1].rain_rate).any():
        raise UserError(f"{frames[-1].source}: no valid pixel in the newest frame")
    rain_rate = model.forecaster(np.stack([frame.rain_rate for frame in frames]), leads)
    return forecast_dataset(rain_rate, frames, step_s, model, snapshot)
