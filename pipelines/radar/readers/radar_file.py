"""A radar file, read once: what formats ask for is made of these bytes, as is the hash."""

import hashlib
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import h5py

from pipelines.common.files import leaves
from pipelines.common.limits import check_unpacked, unpacked_bytes
from pipelines.params.radar import SILENT, FileHints
from pipelines.radar.readers.archive_file import BZIP2, GZIP, ZARR_MARKS, read_bytes

HDF5 = b"\x89HDF\r\n\x1a\n"
Opened = TypeVar("Opened")


class RadarFile:
    """A file that may be of any format, or a member of an archive; or a Zarr store, whose files stay where they are.

    Parameters
    ----------
    path : Path
    hints : FileHints
        What the user says of it.

    Attributes
    ----------
    name : str
        Its name, for formats whose content doesn't say all.
    content : bytes
        Without gzip or bzip2; empty of a Zarr store.

    Raises
    ------
    OSError
        If it can't be read.
    ValueError
        If its gzip or bzip2 is broken, or it is too large.
    """

    def __init__(self, path: Path, hints: FileHints = SILENT) -> None:
        self.path, self.name, self.hints = path, path.name, hints
        self.is_zarr = any((path / mark).exists() for mark in ZARR_MARKS)
        self._raw = b"" if self.is_zarr else read_bytes(path)
        self.content = _unpacked(self._raw)
        self._closing, self._opened = ExitStack(), dict[Any, Any]()

    def opened(self, open_: "Callable[[RadarFile], AbstractContextManager[Opened]]") -> Opened:
        """Return what ``open_`` makes of it, which is done once and lasts until :meth:`close`."""
        if open_ not in self._opened:
            self._opened[open_] = self._closing.enter_context(open_(self))
        return self._opened[open_]

    def close(self) -> None:
        """Close what was opened."""
        self._opened.clear()
        self._closing.close()

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the bytes as they lie on disk; of a Zarr store, of its files with their names."""
        if not self.is_zarr:
            return hashlib.sha256(self._raw).hexdigest()
        digest = hashlib.sha256()
        for file in sorted(one for one in leaves(self.path) if one.is_file()):
            digest.update(f"{file.relative_to(self.path)} {file.stat().st_size}\n".encode() + file.read_bytes())
        return digest.hexdigest()

    @property
    def is_hdf5(self) -> bool:
        """Whether the content starts as HDF5 does, netCDF-4 among it."""
        return self.content.startswith(HDF5)

    @cached_property
    def hdf5(self) -> h5py.File:
        """The content, opened as HDF5."""
        return h5py.File(BytesIO(self.content), "r")


def _unpacked(content: bytes) -> bytes:
    for magic, name, decompressor in (
        (GZIP, "gzip", partial(zlib.decompressobj, zlib.MAX_WBITS | 16)),
        (BZIP2, "bzip2", BZ2Decompressor),
    ):
        if content.startswith(magic):
            try:
                return _decompressed(content, decompressor)
            except (OSError, EOFError, zlib.error) as error:
                raise ValueError(f"broken {name}: {error}") from error
    return content


def _decompressed(content: bytes, decompressor: Callable[[], Any]) -> bytes:
    """Return what the streams unpack to that lie in ``content`` one after another; no more of it than may be."""
    parts, size = list[bytes](), 0
    while content:
        stream = decompressor()
        parts.append(stream.decompress(content, unpacked_bytes() - size + 1))
        size += len(parts[-1])
        check_unpacked(size)
        if not stream.eof:
            raise EOFError("it is cut short")
        content = stream.unused_data.lstrip(b"\0")  # tapes and some writers pad with zeros
    return parts[0] if len(parts) == 1 else b"".join(parts)
