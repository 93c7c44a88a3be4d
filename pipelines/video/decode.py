"""What a worker does with a video on its way into the store: it writes the shards of its frames and their flow."""

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.common.provenance import FileSignature, sha256
from pipelines.common.shard_file import ShardFile
from pipelines.video.clips import CHUNK, LEVEL, SHARD
from pipelines.video.frames import Decoding, Image, open_video, sampled, still_alive, unreadable
from pipelines.video.optical_flow import flow_between


@dataclass(frozen=True)
class Decoded:
    """What became of a video.

    Parameters
    ----------
    sha256 : str
        Hex digest of the file, or of a folder of pictures.
    key : str
        Of its shards; see :func:`shard_path`.
    frames, height, width : int
    fps : float
        Frames a second, as stored.
    """

    sha256: str
    key: str
    frames: int
    height: int
    width: int
    fps: float


def shard_path(folder: Path, key: str, kind: str, number: int) -> Path:
    """Return where a shard of a video is; ``kind`` is pixels or flow."""
    return folder / f"{key}.{kind}.{number}"


def decode_clip(path: Path, start_s: float | None, end_s: float | None, decoding: Decoding, folder: Path) -> Decoded:
    """Decode a video, or part of one, into shards in ``folder``.

    Parameters
    ----------
    path : Path
        A file, or a folder of pictures.
    start_s, end_s : float or None
        The part that is wanted, seconds; None for all of it.

    Raises
    ------
    UnreadableFile
        If it can't become a clip, whatever the reason.
    """
    with unreadable(path):
        signature = FileSignature.of(path)
        (height, width), fps, source = open_video(path, start_s, end_s, decoding)
        with closing(source) as timed:
            digest = sha256(path) if path.is_dir() else _sha256(path)
            key = hashlib.sha256(f"{digest} {start_s} {end_s}".encode()).hexdigest()
            frames = _write(sampled(timed, decoding.rate, fps), key, decoding, folder)
        if FileSignature.of(path) != signature:
            raise InterruptedError(4, "it changed while it was read")
    return Decoded(digest, key, frames, height, width, decoding.rate or fps)


def _sha256(path: Path) -> str:
    """Return the hex digest of a file that may be many gigabytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            still_alive()
    return digest.hexdigest()


def _write(pictures: Iterator[Image], key: str, decoding: Decoding, folder: Path) -> int:
    """Write the shards of a clip, and count its frames; nothing is left if it can't be done."""
    written: list[Path] = []
    count = 0
    last: list[Image] = []  # the frame before a chunk, from which its first flow is
    chunks = iter(lambda: list(islice(pictures, CHUNK)), [])
    try:
        for number in itertools.count():
            of_shard = list(islice(chunks, 1))
            if not of_shard:
                break
            paths = [shard_path(folder, key, kind, number) for kind in decoding.kinds]
            with ExitStack() as stack:
                files = [stack.enter_context(ShardFile(path, SHARD // CHUNK, LEVEL)) for path in paths]
                for chunk in chain(of_shard, islice(chunks, SHARD // CHUNK - 1)):
                    still_alive()
                    files[0].add(_filled(np.stack(chunk)))
                    if decoding.with_flow:
                        flow = flow_between(last + chunk)
                        nothing = np.zeros((1 - len(last), *flow.shape[1:]), np.float32)  # before the first frame
                        files[1].add(_filled(np.concatenate([nothing, flow]).astype("<f2")))
                        last = chunk[-1:]
                    count += len(chunk)
            written += paths
        if count < decoding.min_frames:
            raise ValueError(f"{count or 'no'} frame{'s' * (count != 1)}, and min_frames is {decoding.min_frames}")
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)  # another worker may have had another file of the same content
        raise
    return count


def _filled(rows: NDArray[Any]) -> NDArray[Any]:
    """Return a whole chunk, with zeros after the rows that there are."""
    if len(rows) == CHUNK:
        return rows
    return np.concatenate([rows, np.zeros((CHUNK - len(rows), *rows.shape[1:]), rows.dtype)])
