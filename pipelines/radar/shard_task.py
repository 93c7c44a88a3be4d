"""What one worker does for a shard: decode the frames of its rows, take the first good one of each, and write it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.common import workers
from pipelines.common.ingest_cache import signature
from pipelines.common.workers import Failure
from pipelines.params.radar import FileHints, IngestRadar
from pipelines.radar.decoding import decode_packed
from pipelines.radar.frame import PackedRain
from pipelines.radar.quality import Quality
from pipelines.radar.shards import Shards

FrameRef = tuple[Path, int]  # a frame in a file
Decoded = tuple[str, Quality]  # hex digest of a frame's rain rates, and what is said of it


class Candidate(NamedTuple):
    """A frame that may be a row's.

    Parameters
    ----------
    ref : FrameRef
        With an absolute path.
    sha256, signature : str
        Of its file, as it was found.
    is_known : bool
        Whether it was decoded before, without failure.
    """

    ref: FrameRef
    sha256: str
    signature: str
    is_known: bool


def make_shard(
    rows: Sequence[Sequence[Candidate]], folder: Path, size: int, params: IngestRadar, hints: FileHints
) -> dict[FrameRef, Decoded | Failure]:
    """Write the shard of some rows to ``folder``, if any has a frame; return what became of frames that were decoded.

    All that were never decoded are, and those that are taken. No more than twice ``size`` frames are in memory, however
    many are of one time.
    """
    outcomes: dict[FrameRef, Decoded | Failure] = {}
    frames: dict[FrameRef, PackedRain] = {}
    while True:
        rows = [[one for one in row if not isinstance(outcomes.get(one.ref), Failure)] for row in rows]
        taken = [row[0] for row in rows if row]
        frames = {one.ref: frames[one.ref] for one in taken if one.ref in frames}  # of others the digest is enough
        need = [one for row in rows for one in row if not one.is_known and one.ref not in outcomes]
        need = need or [one for one in taken if one.ref not in frames]
        if not need:
            break
        need = need[:size]
        tasks = [(*one.ref, params, hints, one.sha256) for one in need]
        answers = list(workers.decoders(params.limits, most=os.cpu_count()).map(decode_packed, tasks))
        unchanged = {path: signature(path) for path in {one.ref[0] for one in need}}  # a file of many frames once
        for one, answer in zip(need, answers, strict=True):
            if isinstance(answer, Failure):
                outcomes[one.ref] = answer
            elif one.signature != unchanged[one.ref[0]]:
                outcomes[one.ref] = Failure("it changed while it was read", passing=True)
            else:
                frames[one.ref], pixels, quality = answer
                outcomes[one.ref] = pixels, quality
    if taken:
        of_rows = [(row[0].sha256, row[0].ref[1]) if row else None for row in rows]
        Shards(folder).make([frames[row[0].ref] if row else None for row in rows], of_rows)
    return outcomes
