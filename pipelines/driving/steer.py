"""What a network from the registry says of a video, a tub or a camera's file: the wheel's angle, a row a frame.

For study: it drives no car. All of it streams: however long the source is, a few windows of it are in memory.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import chain, count, islice
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from pipelines.common.errors import UnreadableFile, as_unreadable
from pipelines.common.files import atomic_path
from pipelines.common.limits import Limits
from pipelines.common.workers import guarded
from pipelines.driving import comma_ai, livi_set, tub
from pipelines.driving.layouts import Layout, read_piece
from pipelines.driving.rows import Picture
from pipelines.driving.sequences import check_rate
from pipelines.driving.steering import Image, Steering, SteeringDescription, load_steering
from pipelines.training.exported_model import fetch_model
from pipelines.video.frames import Decoding, own_rate
from pipelines.video.stream import stream_frames

PIECE = 32  # frames that are decoded at once
JUDGED = 256  # the first frames, whose times say how many a second there are
# A frame follows from the one before by so many seconds at most, or so many of the source's steps, whichever is longer.
LONGEST_GAP_S, LONGEST_GAP_STEPS = 0.5, 2.5
COLUMNS = ("frame", "time_s", "angle")


class Frame(NamedTuple):
    """A frame of a source: its number, its time (NaN where nobody says), and pixels; None if it can't be read."""

    number: int
    time: float
    image: Image | None


class Steered(NamedTuple):
    """What was done: rows, those without an angle, and the model's name, version and unit."""

    rows: int
    bad: int
    name: str
    version: str | None
    unit: str


def steer(
    source: Path,
    uri: str,
    out: TextIO | Path,
    *,
    folder_rate: float,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Steered:
    """Write the angle after each frame of ``source`` as CSV with the columns `COLUMNS`.

    Parameters
    ----------
    source : Path
        A video, a folder of pictures, a drive of LiVi-Set, a donkeycar tub, or a camera's file of comma.ai (.h5).
    uri : str
        Of a registered model.
    out : TextIO or Path
        A stream, or a file that is written whole or not at all.
    folder_rate : float
        Frames a second of a folder of pictures, which doesn't say.

    Raises
    ------
    UserError
        If there is no such model, or it is none that steers.
    UnreadableFile
        If the source can't be decoded, or takes more than it may.
    """
    folder, version = fetch_model(uri, _registered)
    steering = load_steering(folder)
    about = steering.description
    frames = read_source(source, about, folder_rate, limits)
    with atomic_path(out) if isinstance(out, Path) else nullcontext(None) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") if temporary else nullcontext(out) as stream:
            assert not isinstance(stream, Path)
            rows, bad = write_angles(steering, frames, stream)
        if not rows:
            raise UnreadableFile(source, "no frame in it")
    return Steered(rows, bad, about.name, version, about.unit)


def _registered() -> Any:
    """Return what MLflow has to know: imported here, as a folder needs none of it."""
    from pipelines.driving.specification import STEERING

    return STEERING


def write_angles(steering: Steering, frames: Iterable[Frame | None], out: TextIO) -> tuple[int, int]:
    """Write a row for each frame as they come; return how many there are, and how many have no angle.

    None between two frames is a gap, which no window bridges.
    """
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    waiting: deque[Frame | None] = deque()

    def images() -> Iterator[Image | None]:
        for frame in frames:
            waiting.append(frame)
            yield frame and frame.image

    rows = bad = 0
    for angle in steering.steer(images()):
        if (frame := waiting.popleft()) is None:
            continue
        time = "" if isnan(frame.time) else f"{frame.time:.3f}"
        table.writerow([frame.number, time, "" if isnan(angle) else f"{angle:.4f}"])
        rows, bad = rows + 1, bad + isnan(angle)
    return rows, bad


def read_source(source: Path, about: SteeringDescription, folder_rate: float, limits: Limits) -> Iterator[Frame | None]:
    """Yield the frames of a source, as many a second as the network was trained on; None where there is a gap.

    Raises
    ------
    UnreadableFile
        As soon as it can't be decoded, or takes more than it may; if it has fewer frames a second than the network
        was trained on.
    """
    if source.suffix.lower() in (".h5", ".hdf5"):
        frames = guarded(comma_ai.count_frames, source, limits=limits)
        timed = ((k / comma_ai.CAMERA_RATE, k) for k in range(frames))
        yield from _decoded(source, "comma.ai 2016", timed, about, limits)
    elif (source / tub.MANIFEST).is_file():
        yield from _decoded(source, "donkeycar tub", _records(source, limits), about, limits)
    elif (source / livi_set.PICTURES).is_dir():
        numbers = guarded(livi_set.picture_numbers, source, limits=limits)
        numbered = ((k / folder_rate, f"{livi_set.PICTURES}/{k}.jpg") for k in numbers)
        yield from _decoded(source, "LiVi-Set", numbered, about, limits)
    else:
        # The short side as long as the network's longer one, so that nothing of what it sees is made larger.
        decoding = Decoding(max(about.height, about.width), about.rate, 1, folder_rate, with_flow=False)
        if about.rate:
            rate = guarded(own_rate, source, decoding, limits=limits)
            with as_unreadable(source):
                check_rate(np.array([0, 1 / rate]), about.rate)
        images = stream_frames(source, decoding, limits)
        for number, image in enumerate(images):
            yield Frame(number, number / about.rate if about.rate else float("nan"), image)


def _records(folder: Path, limits: Limits) -> Iterator[tuple[float, str]]:
    catalogs, deleted = guarded(tub.manifest_of, folder, limits=limits)
    for catalog in catalogs:
        yield from guarded(tub.read_pictures, folder, catalog, deleted, limits=limits)


def _decoded(
    path: Path, layout: Layout, timed: Iterable[tuple[float, Picture]], about: SteeringDescription, limits: Limits
) -> Iterator[Frame | None]:
    numbers = count()
    begun: float | None = None
    coming = iter(timed)
    first = list(islice(coming, JUDGED))
    longest_gap_s = LONGEST_GAP_S
    if len(first) > 1:
        times = np.array([time for time, _ in first])
        if about.rate:
            with as_unreadable(path):
                check_rate(times, about.rate)
        longest_gap_s = max(longest_gap_s, LONGEST_GAP_STEPS * float(np.median(np.diff(times))))
    chosen = thin(chain(first, coming), about.rate, longest_gap_s)
    while piece := list(islice(chosen, PIECE)):
        pictures = [picture for _, picture, _ in piece]
        target = about.height, about.width
        read = guarded(read_piece, path, layout, pictures, target, None, limits=limits)
        images = dict(zip(read.places, read.frames, strict=True))
        for place, (time, _, follows) in enumerate(piece):
            begun = time if begun is None else begun
            if not follows:
                yield None
            yield Frame(next(numbers), time - begun, images.get(place))


def thin(
    timed: Iterable[tuple[float, Picture]], rate: float | None, longest_gap_s: float = LONGEST_GAP_S
) -> Iterator[tuple[float, Picture, bool]]:
    """Yield times and pictures ``rate`` times a second, all without one, and whether each follows from the last one.

    What is nearest in time is told by the step before it, since what comes isn't known yet.
    """
    before, due = float("nan"), float("nan")
    for time, picture in timed:
        step = time - before
        follows = 0 < step <= longest_gap_s
        if not follows:
            due = time
        if rate is None or not follows or time >= due - step / 2:
            yield time, picture, follows
            due = max(due + 1 / rate, time - step / 2) if rate else time
        before = time
