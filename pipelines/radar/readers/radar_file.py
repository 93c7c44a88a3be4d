"""A radar file, read once: what formats ask for is made of these bytes, as is the hash."""

import bz2
import gzip
import hashlib
import zlib
from functools import cached_property
from io import BytesIO
from pathlib import Path

import h5py

from pipelines.params.radar import SILENT, FileHints
from pipelines.radar.readers.archive_file import BZIP2, GZIP, ZARR_MARKS, read_bytes

HDF5 = b"\x89HDF\r\n\x1a\n"


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
        If its gzip or bzip2 is broken.
    """

    def __init__(self, path: Path, hints: FileHints = SILENT) -> None:
        self.path, self.name, self.hints = path, path.name, hints
        self.is_zarr = any((path / mark).exists() for mark in ZARR_MARKS)
        self._raw = b"" if self.is_zarr else read_bytes(path)
        self.content = _unpacked(self._raw)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the bytes as they lie on disk; of a Zarr store, of its files with their names."""
        if not self.is_zarr:
            return hashlib.sha256(self._raw).hexdigest()
        digest = hashlib.sha256()
        for file in sorted(one for one in self.path.rglob("*") if one.is_file()):
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
    for magic, name, unpack in ((GZIP, "gzip", gzip.decompress), (BZIP2, "bzip2", bz2.decompress)):
        if content.startswith(magic):
            try:
                return unpack(content)
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise ValueError(f"broken {name}: {error}") from error
    return content
