"""The store of clips: frames of all videos in one Zarr group, and a table that says which are whose.

``store``              Zarr v3 group, readable by xarray: one variable a column of the table, dimension ``clip_number``
``store/pixels/HxW``   uint8 (frame, y, x, channel), RGB: all clips of H × W pixels
``store/flow/HxW``     float16 (frame, y, x, component), where it is stored: row i is the flow from frame i - 1 to i

A clip has shards of its own: it begins at a whole multiple of `SHARD` frames, and the rest of its last shard is empty
and costs nothing. So a shard is a function of its file alone, and is made once, whatever other files come and go.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from pipelines.common.files import link
from pipelines.common.format_version import FORMAT_VERSION
from pipelines.common.table_store import open_table, table_of, variables
from pipelines.video.optical_flow import SCALE

SHARD = 512  # frames of a shard, which is a file
FORMAT = 1  # version of what is described above
CHUNK = 8  # frames of a chunk
LEVEL = -20  # Zstandard's: four times as fast as 1 and a third larger; decoding is nearly as fast as without it
COLUMNS = {
    "clip": "name of the clip: its file's path below the source folder, without the ending",
    "label": "number of its class",
    "label_name": "name of its class",
    "group": "source of the clip; clips of one group are in one split",
    "split": "train, validation, test or unused",
    "first_frame": "row of its first frame in pixels/HxW",
    "frames": "number of its frames",
    "height": "rows of a frame, pixels",
    "width": "columns of a frame, pixels",
    "fps": "frames a second, as stored",
    "source": "path of the file below the source folder",
    "sha256": "SHA-256 of the file",
}


def array_outline(kind: str, rows: int, height: int, width: int) -> dict[str, Any]:
    """Return arguments of `zarr.create_array` for the frames (``kind`` pixels) or the flow of clips of one size."""
    shape = (height, width, 3) if kind == "pixels" else (height // SCALE, width // SCALE, 2)
    return {
        "shape": (rows, *shape),
        "chunks": (CHUNK, *shape),
        "shards": (SHARD, *shape),
        "dtype": "uint8" if kind == "pixels" else "float16",
        "fill_value": 0,
        "compressors": ZstdCodec(level=LEVEL),
        # A file a shard in one folder, not in four of its own.
        "chunk_key_encoding": {"name": "default", "separator": "."},
        "dimension_names": ("frame", "y", "x", "channel" if kind == "pixels" else "component"),
    }


def shards_of(frames: int) -> int:
    """Count the shards of a clip."""
    return -(-frames // SHARD)


def assemble(
    table: pd.DataFrame,
    shards: dict[str, list[list[Path]]],
    classes: list[str],
    attributes: dict[str, Any],
    store: Path,
) -> None:
    """Write the store of the clips in ``table``; ``store`` must not be there yet.

    Parameters
    ----------
    table : DataFrame
        With the columns `COLUMNS` but ``first_frame``, which is found here.
    shards : dict
        For ``pixels``, and for ``flow`` where it is stored, the files of each clip's finished shards; they are linked.
    classes : list of str
        Names of the classes, by number.
    attributes : dict
        What else there is to say about all of it.
    """
    table = table.reset_index(drop=True)
    rows = table["frames"].map(shards_of) * SHARD
    table["first_frame"] = rows.groupby([table["height"], table["width"]]).cumsum() - rows
    about = attributes | {FORMAT_VERSION: FORMAT, "classes": classes}
    outline = xr.Dataset(variables(table, COLUMNS, "clip_number"), attrs=about)
    outline.to_zarr(store, mode="w-", zarr_format=3, consolidated=False)
    group = zarr.open_group(store, mode="r+")
    for (height, width), same_size in table.groupby(["height", "width"]):
        for kind, files in shards.items():
            name = f"{kind}/{height}x{width}"
            group.create_array(name, **array_outline(kind, int(rows[same_size.index].sum()), height, width))
            for number, first_frame in same_size["first_frame"].items():
                for k, shard in enumerate(files[number]):
                    link(shard, store / name / f"c.{first_frame // SHARD + k}.0.0.0")


class Clips:
    """A store of clips; frames are read as they are asked for.

    Attributes
    ----------
    table : DataFrame
        A row a clip, with the columns `COLUMNS`.
    classes : list of str
        Names of the classes; a label is a number into it.
    attributes : dict
        What the store says about itself: layout, rate, short side, licence and the like.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        with open_table(self.path, FORMAT, "clips") as found:
            self.table = table_of(found, COLUMNS)
            self.attributes: dict[str, Any] = dict(found.attrs)
            self.classes: list[str] = list(self.attributes.pop("classes"))
        self._places = list(self.table[["first_frame", "frames", "height", "width"]].itertuples(index=False, name=None))

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def _arrays(self) -> dict[str, zarr.Array]:
        group = zarr.open_group(self.path, mode="r")
        return {
            f"{kind}/{name}": array
            for kind in ("pixels", "flow")
            if kind in group
            for name, array in group[kind].arrays()  # type: ignore[union-attr]
        }

    @cached_property
    def has_flow(self) -> bool:
        """Whether optical flow is stored."""
        return any(name.startswith("flow/") for name in self._arrays)

    def frames(self, i: int, start: int = 0, count: int | None = None) -> NDArray[np.uint8]:
        """Read frames of clip ``i``, of shape (count, H, W, 3), RGB, from its frame ``start`` on; all by default.

        Raises
        ------
        IndexError
            If the clip has no such frames.
        """
        first, count, size = self._place(i, start, count)
        return np.asarray(self._arrays[f"pixels/{size}"][first : first + count])

    def flow(self, i: int, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Read the stored flow between the frames that :meth:`frames` gives, of shape (count - 1, H / 4, W / 4, 2).

        Displacement from each frame to the next, x and y, in pixels of the frames.
        """
        first, count, size = self._place(i, start, count)
        return np.asarray(self._arrays[f"flow/{size}"][first + 1 : first + count]).astype(np.float32)

    def _place(self, i: int, start: int, count: int | None) -> tuple[int, int, str]:
        first, frames, height, width = self._places[i]
        count = frames - start if count is None else count
        if start < 0 or count < 1 or start + count > frames:
            raise IndexError(f"frames {start} to {start + count} of clip {i}, which has {frames}")
        return first + start, count, f"{height}x{width}"


def open_clips(path: Path) -> Clips:
    """Open a store of clips; raises UserError if there is none."""
    return Clips(path)
