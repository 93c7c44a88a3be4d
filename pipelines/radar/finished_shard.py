"""What the store and its tables have of a finished shard, kept so that a later run needn't look into its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FinishedShard:
    """A shard, row by row, and the files that it is made of.

    Parameters
    ----------
    name : str
        Of its file in the folder of shards.
    seconds : sequence of int
        Of each row, since 1970, UTC.
    sources, sha256 : sequence of str
        Of each row's file: its name in the store, its hex digest; empty where there is no frame.
    lines : sequence of str
        Of the quality table, one a frame, but for the radars that are out.
    radars : sequence of mapping of str to bool
        Of each frame: see `pipelines.radar.readers.header.Header`.
    clipped : int
        Pixels of all frames that were above the highest possible rain rate.
    grid : int
        Number of its frames' grid in the cache.
    files : mapping of str to str
        Paths below the folder of files, with their signatures. None where one has frames in other shards as well, or
        their grids differ, be it by a hair.
    """

    name: str
    seconds: Sequence[int]
    sources: Sequence[str]
    sha256: Sequence[str]
    lines: Sequence[str]
    radars: Sequence[Mapping[str, bool]]
    clipped: int
    grid: int
    files: Mapping[str, str]

    @property
    def times(self) -> list[int]:
        """Return the seconds of its frames."""
        return [second for second, sha256 in zip(self.seconds, self.sha256, strict=True) if sha256]
