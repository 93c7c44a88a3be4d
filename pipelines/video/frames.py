"""The frames of a video as they come, sampled and resized: of a file, or of a folder of pictures.

A video streams through: however long it is, a few frames of it are in memory.
"""

import re
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipelines.common.errors import as_unreadable
from pipelines.common.files import leaves, no_file_inside
from pipelines.video.optical_flow import SCALE

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
NOT_FRAMES = re.compile(r"flow[_xy]", re.IGNORECASE)  # optical flow as pictures, beside the frames
# FFmpeg's readers of what may hold a video. Others draw text, or open the files and addresses that a list names.
CONTAINERS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,m4v,flv,asf,gif,ogg"
CUT_SHORT = 0.9  # share of the time that a file says it lasts, from which on it is whole
LONGEST_GAP_S = 60.0  # between two frames; a longer one is a mistake in the time stamps

Image = NDArray[np.uint8]
Timed = tuple[float, Callable[[], Image]]  # seconds since the first frame, and what makes the picture


@dataclass(frozen=True)
class Decoding:
    """How videos become clips; see the section ingest_video of pipelines.params.read."""

    short_side: int
    rate: float | None
    min_frames: int
    frame_folder_rate: float
    with_flow: bool

    @property
    def kinds(self) -> tuple[str, ...]:
        """What there are shards of."""
        return ("pixels", "flow") if self.with_flow else ("pixels",)


def read_frames(path: Path, decoding: Decoding) -> Iterator[Image]:
    """Return the frames of a video (H, W, 3), RGB, as they come: those that :func:`decode_clip` would store.

    Raises
    ------
    UnreadableFile
        As soon as there is something wrong with it.
    """
    with unreadable(path):
        _, fps, source = open_video(path, None, None, decoding)
        with closing(source) as timed:
            yield from sampled(timed, decoding.rate, fps)


def own_rate(path: Path, decoding: Decoding) -> float:
    """Return how many frames a second a video has; raises UnreadableFile if it is none."""
    with unreadable(path):
        _, fps, source = open_video(path, None, None, decoding)
        source.close()
    return fps


_stream: Iterator[Image] = iter(())


def next_frames(path: Path, decoding: Decoding | None, count: int) -> list[Image]:
    """Return the next frames of a video, as :func:`read_frames` does: none after the last one.

    Parameters
    ----------
    decoding : Decoding or None
        Begins a video; None goes on with it.
    count : int
        At most so many.
    """
    global _stream
    if decoding is not None:
        _stream = read_frames(path, decoding)
    return list(islice(_stream, count))


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Turn all that goes wrong with a video into `UnreadableFile`."""
    with as_unreadable(path):
        try:
            yield
        except OSError:
            raise
        except FFmpegError as error:  # its number is no errno: what a file's content is doesn't pass
            raise ValueError(f"no video that can be decoded: {error.strerror}") from None


def open_video(
    path: Path, start_s: float | None, end_s: float | None, decoding: Decoding
) -> tuple[tuple[int, int], float, Generator[Timed]]:
    """Return size, own frame rate and frames of a video, file or folder."""
    return _pictures(path, decoding) if path.is_dir() else _video(path, start_s, end_s, decoding)


def target_size(height: float, width: float, short_side: int) -> tuple[int, int]:
    """Return rows and columns of a clip's frames: the short side as asked for, both multiples of the flow's cells."""
    scale = short_side / min(height, width)
    return max(SCALE, round(height * scale / SCALE) * SCALE), max(SCALE, round(width * scale / SCALE) * SCALE)


def _video(
    path: Path, start_s: float | None, end_s: float | None, decoding: Decoding
) -> tuple[tuple[int, int], float, Generator[Timed]]:
    """Return size, own frame rate and frames of a video file."""
    if not path.stat().st_size:
        raise ValueError("empty")
    only = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        # Absolute: "concat:a.mp4" would be a protocol and not a file.
        container = av.open(str(path.absolute()), options=only)
    except av.error.ArgumentError:
        raise ValueError(f"no video that can be decoded: none of {CONTAINERS}") from None
    try:
        if not container.streams.video:
            raise ValueError("it has no video, sound alone" if container.streams.audio else "it has no video")
        stream = container.streams.video[0]
        stream.thread_type = "NONE"  # the workers are what runs side by side
        # AVI has no time stamps, but a constant rate; what FFmpeg makes up goes back where there are B-frames.
        timed = container.format.name != "avi"
        if start_s and timed:
            container.seek(int(start_s * av.time_base))
        decoded = container.decode(stream)
        first = next(decoded, None)
        if first is None:
            raise ValueError("it has no frame")
        turns = round(first.rotation / 90) % 4
        height, width = float(first.height), first.width * float(stream.sample_aspect_ratio or 1)
        if turns % 2:
            height, width = width, height
        size = target_size(height, width, decoding.short_side)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        lasts = _said_to_last(container, stream, rate)
        convert = partial(_converted, VideoReformatter(), size=size, turns=turns)
    except BaseException:
        container.close()
        raise

    def frames() -> Generator[Timed]:
        step = 1 / rate
        count, origin, now, until = 0, None, -step, 0.0
        with container:
            frame: av.VideoFrame | None = first
            while frame is not None:
                count += 1
                if count % 64 == 0:
                    still_alive()
                now = frame.time if timed and frame.time is not None else now + step
                until = max(until, now + max(step, float((frame.duration or 0) * (frame.time_base or 0))))
                if (start_s is None or now >= start_s - 1e-3) and (end_s is None or now < end_s - 1e-3):
                    origin = now if origin is None else origin
                    yield now - origin, partial(convert, frame)
                elif end_s is not None and now >= end_s:
                    break
                try:
                    frame = next(decoded, None)
                except FFmpegError as error:
                    raise ValueError(f"broken after {count} frames: {error.strerror}") from None
        if end_s is None and start_s is None and until < CUT_SHORT * lasts:
            raise ValueError(f"cut short: {until:.1f} of {lasts:.1f} s")

    return size, rate, frames()


def _said_to_last(container: InputContainer, stream: VideoStream, rate: float) -> float:
    """Return the seconds that a file's header says its video lasts; 0 where it says nothing.

    Not its number of frames: of a video that was trimmed without decoding it those before and after are still in the
    file, and aren't shown (MP4's edit list). Of other formats FFmpeg takes the time from where the file ends.
    """
    name = container.format.name
    if name == "avi":
        return stream.frames / rate
    if not name.startswith(("mov", "matroska", "flv", "asf")):
        return 0.0
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if parts := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "")):  # Matroska's
        hours, minutes, seconds = map(float, parts.groups())
        return 3600 * hours + 60 * minutes + seconds
    # The file's: of the longest of its streams.
    return (container.duration or 0) / av.time_base if len(container.streams) == 1 else 0.0


def _converted(reformatter: VideoReformatter, frame: av.VideoFrame, size: tuple[int, int], turns: int) -> Image:
    """Pixels of a decoded frame: resized, upright, RGB. A frame's own reformat would set up the scaling each time."""
    height, width = size[::-1] if turns % 2 else size
    pixels: Any = reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _pictures(folder: Path, decoding: Decoding) -> tuple[tuple[int, int], float, Generator[Timed]]:
    """Return size, frame rate and frames of a folder of pictures, in the order of the numbers in their names."""
    files = sorted(
        (file for file in folder.iterdir() if file.suffix.lower() in PICTURES and not NOT_FRAMES.match(file.name)),
        key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)],
    )
    if not files:
        raise ValueError("no picture in it")
    for file in sorted(leaves(folder)):  # all of them count for its hash
        if words := no_file_inside(file, folder):
            raise ValueError(f"{file.relative_to(folder)}: {words}")

    height, width = _picture(files[0]).shape[:2]
    size = target_size(height, width, decoding.short_side)
    rate = decoding.frame_folder_rate
    return size, rate, ((i / rate, partial(_resized, file, size)) for i, file in enumerate(files))


def _picture(file: Path) -> Image:
    picture: Any = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError(f"{file.name} is no picture")
    return picture


def _resized(file: Path, size: tuple[int, int]) -> Image:
    pixels: Any = cv2.resize(_picture(file), size[::-1], interpolation=cv2.INTER_AREA)
    return pixels


def sampled(timed: Iterator[Timed], rate: float | None, own_rate: float) -> Iterator[Image]:
    """Pictures ``rate`` times a second, each the one nearest in time; all there are where there is no rate."""
    number = 0
    before: Timed | None = None

    def until(end: float) -> Iterator[Image]:
        nonlocal number
        picture = None
        while before is not None and rate is not None and number / rate < end:
            picture = before[1]() if picture is None else picture
            number += 1
            yield picture

    for time, make in timed:
        if before is not None:
            if time < before[0]:
                raise ValueError(f"its time stamps go back, after {before[0]:.2f} s")
            if time - before[0] > LONGEST_GAP_S:
                raise ValueError(f"its time stamps leap by {time - before[0]:.0f} s, after {before[0]:.2f} s")
        if rate is None:
            yield make()
        elif before is not None:
            yield from until((before[0] + time) / 2)
        before = time, make
    if before is not None:
        yield from until(before[0] + 0.5 / own_rate)


def still_alive() -> None:
    """Wind up the kernel's timer of a worker: this is a long video, not one on which the decoder hangs."""
    if limit_s := signal.getitimer(signal.ITIMER_REAL)[1]:
        signal.setitimer(signal.ITIMER_REAL, limit_s, limit_s)
