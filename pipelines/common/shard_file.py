"""A shard of Zarr's sharding codec as a file that is written chunk by chunk.

Zarr's own way fills an array of a whole shard, which takes twice the time that compression takes, and decoding waits
for it. The format: the compressed chunks one after another, then for each chunk of the shard its offset and length in
bytes (64 bits each, all ones for a chunk that isn't there), then the CRC-32C of these.

References
----------
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]
from numpy.typing import NDArray

NOT_THERE = 2**64 - 1


class ShardFile:
    """Write ``path``, whole or not at all: within a ``with`` block, chunk after chunk.

    It isn't forced to the disk, which would take a twentieth of all time: see :func:`is_whole`.

    Parameters
    ----------
    path : Path
    chunks : int
        Chunks of a shard.
    level : int
        Zstandard's.
    """

    def __init__(self, path: Path, chunks: int, level: int) -> None:
        self._path, self._temporary = path, path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._zstd = Zstd(level=level)
        self._index = np.full((chunks, 2), NOT_THERE, "<u8")
        self._count = self._offset = 0

    def __enter__(self) -> "ShardFile":
        self._stream = self._temporary.open("wb")
        return self

    def add(self, chunk: NDArray[Any]) -> None:
        """Write the next chunk, in C order and little-endian."""
        self.add_compressed(self._zstd.encode(np.ascontiguousarray(chunk)))

    def add_compressed(self, compressed: bytes) -> None:
        """Write the next chunk as it is in another shard; see :func:`compressed_chunks`."""
        self._stream.write(compressed)
        self._index[self._count] = self._offset, len(compressed)
        self._count += 1
        self._offset += len(compressed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stream as stream:
            if kind is None:
                index = self._index.tobytes()
                stream.write(index + _checksum(index))
        if kind is None:
            self._temporary.replace(self._path)
        else:
            self._temporary.unlink()


def compressed_chunks(path: Path, chunks: int) -> list[bytes]:
    """Return the first ``chunks`` chunks of a whole shard that has no more than these, as they are stored."""
    content = path.read_bytes()
    index = np.frombuffer(content[-16 * chunks - 4 : -4], "<u8").reshape(chunks, 2).tolist()
    return [content[offset : offset + length] for offset, length in index]


def is_whole(path: Path, chunks: int) -> bool:
    """Return whether a shard of ``chunks`` chunks is there and wasn't torn by a power cut."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - 16 * chunks - 4, 0))
            index, checksum = stream.read(16 * chunks), stream.read()
    except OSError:
        return False
    if checksum != _checksum(index):
        return False
    lengths = np.frombuffer(index, "<u8").reshape(chunks, 2)[:, 1]
    return int(lengths[lengths != NOT_THERE].sum()) == size - len(index) - len(checksum)


def _checksum(index: bytes) -> bytes:
    return int(google_crc32c.value(index)).to_bytes(4, "little")
