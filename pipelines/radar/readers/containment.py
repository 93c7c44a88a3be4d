"""Files and stores that would have a library read something outside of them: refused by name, before any library does.

HDF5's ways are in `pipelines.common.hdf5`. A Zarr store is a folder, in which links may
lie, and its metadata name the codecs that decode it, Python's pickle among those that there are. A GeoTIFF's tags can
name a file with its overviews.
"""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.common.files import leaves, no_file_inside
from pipelines.common.hdf5 import check_hdf5
from pipelines.common.limits import check_size, check_unpacked
from pipelines.radar.readers.radar_file import RadarFile

if TYPE_CHECKING:
    import rasterio

# Codecs of bytes, numbers and text. Pickle is one of those that are left out, and so are all that make objects.
ZARR_CODECS = {
    *("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd", "bytes", "endian", "transpose", "sharding_indexed"),
    *("shuffle", "delta", "fixedscaleoffset", "quantize", "packbits", "astype", "bitround", "scale_offset"),
    *("cast_value", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "vlen-utf8", "vlen-bytes"),
}
RASTER_LINKS = ("OVERVIEW_FILE", "X_DATASET", "Y_DATASET", "MASK_FILE")
METADATA = ("zarr.json", ".zarray")


def check_contained(file: RadarFile) -> None:
    """Refuse HDF5 or Zarr that isn't whole in itself, by the name of what isn't.

    Raises
    ------
    ValueError
    """
    if file.is_zarr:
        _check_zarr(file.path)
    elif file.is_hdf5:
        check_hdf5(file.hdf5)


def check_raster(dataset: "rasterio.DatasetReader") -> None:
    """Refuse a GeoTIFF whose tags have GDAL look into another file; raises ValueError.

    Files beside it aren't there for one that is read from memory.
    """
    for namespace in dataset.tag_namespaces():
        for name, value in dataset.tags(ns=namespace).items():
            if name in RASTER_LINKS:
                raise ValueError(f"tag {name} of {namespace} leads to another file, {value}")


def _check_zarr(store: Path) -> None:
    for path in sorted(leaves(store)):
        name = path.relative_to(store)
        if outside := no_file_inside(path, store):
            raise ValueError(f"{name}: {outside}")
        if path.is_file():
            check_size(path.stat().st_size)
        if path.name in METADATA:
            try:
                _check_array(name, json.loads(path.read_bytes()))
            except (AttributeError, KeyError, TypeError):
                raise ValueError(f"{name} isn't the metadata of a Zarr array") from None


def _check_array(name: Path, array: dict[str, Any]) -> None:
    if array.get("storage_transformers"):
        raise ValueError(f"{name}: storage transformers, of which none is known")
    codecs = [array.get("compressor"), *(array.get("filters") or []), *(array.get("codecs") or [])]
    for codec in _names([codec for codec in codecs if codec is not None]):
        if codec.removeprefix("numcodecs.") not in ZARR_CODECS:
            raise ValueError(f"{name}: codec {codec} isn't one that is known")
    chunk = array.get("chunks") or array.get("chunk_grid", {}).get("configuration", {}).get("chunk_shape")
    for codec in array.get("codecs") or []:
        if not isinstance(codec, str) and codec["name"] == "sharding_indexed":
            chunk = codec["configuration"]["chunk_shape"]  # what is read at once of a shard
    if chunk:
        check_unpacked(prod(chunk) * _item_bytes(array.get("dtype", array.get("data_type"))), f"a chunk of {name}")


def _names(codecs: list[Any]) -> Iterator[str]:
    """Yield the names of codecs, with those within them."""
    for codec in codecs:
        if isinstance(codec, str):
            yield codec
            continue
        yield codec["id"] if "id" in codec else codec["name"]
        within = codec.get("configuration", {})
        yield from _names([*within.get("codecs", []), *within.get("index_codecs", [])])


def _item_bytes(kind: Any) -> int:
    try:
        return np.dtype(kind).itemsize
    except (TypeError, ValueError):  # a kind that numpy has under another name
        return 8
