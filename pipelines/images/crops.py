"""The store of crops: one square picture of each object, its polygon, and a table that says whose they are.

``store``            Zarr v3 group, readable by xarray: one variable a column of the table, dimension ``crop``
``store/pixels``     uint8 (crop, y, x, channel), RGB
``store/vertices``   float32 (vertex, xy): all polygons one after another, in pixels of their crops

A crop is a chunk, a shard is many. Each is compressed once, where it is made, so the store is put together by copying.
"""

from collections.abc import Iterable
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from pipelines.common.format_version import FORMAT_VERSION
from pipelines.common.shard_file import ShardFile
from pipelines.common.table_store import open_table, table_of, variables
from pipelines.images.crop_box import SIZE, CropBox

SHARD = 256  # crops of a shard, which is a file
FORMAT = 1  # version of what is described above
LEVEL = -20  # Zstandard's: twice as fast as 1, and a tenth larger, of photos
COLUMNS = {
    "image": "path of the image below the source folder",
    "object": "number of the object in the image's annotation; parts of one object have the same",
    "class_name": "name of its class",
    "label": "number of its class",
    "group": "the image, or its city; crops of one group are in one split",
    "split": "train, validation or test",
    "x0": "left side of the object's box, pixels of the image",
    "y0": "upper side of the object's box, pixels of the image",
    "x1": "right side of the object's box, pixels of the image",
    "y1": "lower side of the object's box, pixels of the image",
    "crop_x0": "left side of the crop, pixels of the image, negative where it reaches beyond it",
    "crop_y0": "upper side of the crop, pixels of the image, negative where it reaches beyond it",
    "crop_side": "side of the crop, pixels of the image",
    "image_height": "rows of the image, upright",
    "image_width": "columns of the image, upright",
    "first_vertex": "row of the polygon's first vertex in vertices",
    "vertex_count": "number of its vertices",
    "sha256": "SHA-256 of the image's file, or of the one that is in a labelme file",
    "object_sha256": "SHA-256 of the image's file, the crop's square, its polygon and class",
}


def assemble(
    table: pd.DataFrame,
    polygons: list[NDArray[np.float32]],
    compressed: Iterable[bytes],
    classes: list[str],
    attributes: dict[str, Any],
    store: Path,
) -> None:
    """Write the store of the crops in ``table``; ``store`` must not be there yet.

    Parameters
    ----------
    table : DataFrame
        With the columns `COLUMNS` but ``first_vertex`` and ``vertex_count``, which are found here.
    polygons : list of ndarray of shape (N, 2)
        In pixels of the crops.
    compressed : iterable of bytes
        The crops' pixels, compressed by Zstandard.
    classes : list of str
        Names of the classes, by number.
    attributes : dict
        What else there is to say about all of it.
    """
    counts = np.array([len(polygon) for polygon in polygons], np.int64)
    table = table.assign(vertex_count=counts, first_vertex=counts.cumsum() - counts)
    arrays = variables(table, COLUMNS, "crop") | {"vertices": (("vertex", "xy"), np.concatenate(polygons))}
    about = attributes | {FORMAT_VERSION: FORMAT, "classes": classes}
    xr.Dataset(arrays, attrs=about).to_zarr(store, mode="w-", zarr_format=3, consolidated=False)
    group = zarr.open_group(store, mode="r+")
    group.create_array(
        "pixels",
        shape=(len(table), SIZE, SIZE, 3),
        chunks=(1, SIZE, SIZE, 3),
        shards=(SHARD, SIZE, SIZE, 3),
        dtype="uint8",
        fill_value=0,
        compressors=ZstdCodec(level=LEVEL),
        # A file a shard in one folder, not in four of its own.
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=("crop", "y", "x", "channel"),
    )
    chunks = iter(compressed)
    for number in range(-(-len(table) // SHARD)):
        with ShardFile(store / "pixels" / f"c.{number}.0.0.0", SHARD, LEVEL) as shard:
            for chunk in islice(chunks, SHARD):
                shard.add_compressed(chunk)


class Crops:
    """A store of crops; pixels are read as they are asked for.

    Attributes
    ----------
    table : DataFrame
        A row a crop, with the columns `COLUMNS`.
    classes : list of str
        Names of the classes; a label is a number into it.
    attributes : dict
        What the store says about itself: layout, margin, licence and the like.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        with open_table(self.path, FORMAT, "crops") as found:
            self.table = table_of(found, COLUMNS)
            self.attributes: dict[str, Any] = dict(found.attrs)
            self.classes: list[str] = list(self.attributes.pop("classes"))
            self._vertices: NDArray[np.float32] = found["vertices"].to_numpy()

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def _pixels(self) -> zarr.Array:
        array = zarr.open_group(self.path, mode="r")["pixels"]
        assert isinstance(array, zarr.Array)
        return array

    def image(self, i: int) -> NDArray[np.uint8]:
        """Read the pixels of crop ``i``, of shape (224, 224, 3), RGB; raises IndexError if there is none."""
        if not 0 <= i < len(self):
            raise IndexError(f"crop {i} of {len(self)}")
        return np.asarray(self._pixels[i])

    def polygon(self, i: int) -> NDArray[np.float32]:
        """Return the vertices (N, 2) of object ``i``: x, y in pixels of the crop, clockwise as one sees it.

        The first vertex isn't repeated at the end.
        """
        first, count = self.table.loc[i, ["first_vertex", "vertex_count"]]
        return self._vertices[first : first + count]

    def crop_box(self, i: int) -> CropBox:
        """Return which square of its image crop ``i`` is."""
        x0, y0, side = self.table.loc[i, ["crop_x0", "crop_y0", "crop_side"]]
        return CropBox(float(x0), float(y0), float(side))


def open_crops(path: Path) -> Crops:
    """Open a store of crops; raises UserError if there is none."""
    return Crops(path)
