"""A radar file, read once: what formats ask for is made of these bytes, as is the hash."""

import gzip
import hashlib
import zlib
from functools import cached_property
from io import BytesIO
from pathlib import Path

import h5py

from pipelines.params.radar import SILENT, FileHints

ZARR_MARKS = ("zarr.json", ".zgroup")
GZIP = b"\x1f\x8b"
HDF5 = b"\x89HDF\r\n\x1a\n"


class RadarFile:
    """A file that may be of any format, or a folder that is a Zarr store, whose files stay where they are.

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
        Without gzip; empty of a Zarr store.

    Raises
    ------
    OSError
        If it can't be read.
    ValueError
        If its gzip is broken.
    """

    def __init__(self, path: Path, hints: FileHints = SILENT) -> None:
        self.path, self.name, self.hints = path, path.name, hints
        self.is_zarr = any((path / mark).exists() for mark in ZARR_MARKS)
        self._raw = b"" if self.is_zarr else path.read_bytes()
        self.content = _gunzipped(self._raw)

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


def _gunzipped(content: bytes) -> bytes:
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"broken gzip: {error}") from error
