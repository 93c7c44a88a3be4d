"""The frames of a video of any length, decoded in a process of their own, a few of them in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from pipelines.common.errors import UnreadableFile
from pipelines.common.limits import Limits
from pipelines.common.workers import Decoders, Failure
from pipelines.video.frames import Decoding, Image, next_frames

FRAMES_AT_ONCE = 16


def stream_frames(clip: Path, decoding: Decoding, limits: Limits) -> Iterator[Image]:
    """Yield the frames of a video as `pipelines.video.frames.read_frames` does.

    Raises
    ------
    UnreadableFile
        As soon as it can't be decoded, or takes more than it may.
    """
    worker, begin = Decoders(1, limits=limits), cast(Decoding | None, decoding)
    while frames := worker.call(next_frames, (clip.absolute(), begin, FRAMES_AT_ONCE)):
        if isinstance(frames, Failure):
            raise UnreadableFile(clip, frames.reason)
        yield from frames
        begin = None
