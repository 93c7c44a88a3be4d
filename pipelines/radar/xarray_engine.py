"""``xr.open_dataset(FILE, engine="scs")``: a radar file of any format that is read here, as CF's rain rate.

xarray imports this module to look for an engine, whichever it is asked for: what takes time is imported on use.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

if TYPE_CHECKING:
    from pipelines.common.provenance import FileSignature
    from pipelines.params.radar import FileHints

MARSHALL_PALMER = (200.0, 1.6)
ATTRIBUTES = ("Conventions", "title", "source", "license", "attribution")
_ONE_AT_A_TIME = Lock()  # netCDF's library bears no threads, and readers keep a file open from frame to frame


class RadarEngine(BackendEntrypoint):
    """Radar files and stores of frames for xarray, lazily: a frame is read when it is looked at.

    Examples
    --------
    >>> xr.open_dataset("composite.h5", engine="scs")["rainfall_flux"]
    >>> xr.open_mfdataset(sorted(folder.glob("*.tif")), engine="scs", unit="dBZ")
    """

    description = "Weather radar files of any format that scs-nowcast reads, as rain rate in mm/h"
    open_dataset_parameters = ("filename_or_obj", "drop_variables")

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Leave each file to its own engine, unless asked for this one."""
        return False

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[Any],
        *,
        drop_variables: str | Iterable[str] | None = None,
        **hints: Any,
    ) -> xr.Dataset:
        """Return the frames of a file as `pipelines.radar.store` describes them.

        Parameters
        ----------
        filename_or_obj : path
        drop_variables : str or iterable of str, optional
        **hints
            What the file doesn't say, as in ``ingest_radar.archives`` of params.yaml: ``unit="mm"``,
            ``interval_s=300``, ``z_r={"a": 200.0, "b": 1.6}`` (Marshall and Palmer's, unless given), and others.

        Raises
        ------
        UserError
            In one line, if it can't be read, a hint isn't one, or its frames aren't of one grid and kind. To look at
            pixels may raise it, too.
        """
        from pipelines.radar.decoding import is_store_of_frames
        from pipelines.radar.store import open_frames

        path = Path(filename_or_obj).expanduser().absolute()  # it is read later, perhaps from another folder
        dataset = open_frames(path) if not hints and is_store_of_frames(path) else _frames_in(path, _hints(hints))
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
        dataset = dataset.drop_vars(dropped, errors="ignore")  # as xarray's own engines do
        dataset.set_close(lambda: None)  # a file isn't open between looks at it, and open_mfdataset wants to close it
        return dataset


def _hints(given: dict[str, Any]) -> FileHints:
    from pydantic import ValidationError

    from pipelines.common.errors import UserError
    from pipelines.params.base import reason_of
    from pipelines.params.radar import FileHints

    try:
        hints = FileHints.model_validate(given)
    except ValidationError as error:
        raise UserError(f"engine scs: {reason_of(error)}") from None
    if hints.regrid is not None:
        raise UserError("engine scs: regrid: only ingestion brings frames onto another grid")
    return hints


def _frames_in(path: Path, hints: FileHints) -> xr.Dataset:
    """Return the frames of a radar file that can be taken, in time order."""
    from pipelines.common.errors import as_unreadable
    from pipelines.common.files import as_text
    from pipelines.common.provenance import FileSignature
    from pipelines.common.rights import Rights
    from pipelines.radar.readers.read import read_headers
    from pipelines.radar.store import dataset_of

    with as_unreadable(path):
        signature = FileSignature.of(path)
        with _ONE_AT_A_TIME:
            headers, sha256 = read_headers(path, hints)
        numbers = sorted((n for n, one in enumerate(headers) if one.refusal is None), key=lambda n: headers[n].time)
        if not numbers:
            raise ValueError(headers[0].refusal)
        z_r = (hints.z_r.a, hints.z_r.b) if hints.z_r else MARSHALL_PALMER
        frames = [headers[n].of_frame(z_r, as_text(path.name), sha256) for n in numbers]
        pixels = indexing.LazilyIndexedArray(
            _Frames(path, signature, numbers, frames[0].grid.shape, z_r, sha256, hints)
        )
        dataset = dataset_of(frames, pixels, Rights()).set_coords("crs").drop_encoding()
    dataset.attrs = {name: dataset.attrs[name] for name in ATTRIBUTES if name in dataset.attrs}
    rain = dataset["rainfall_flux"]
    del rain.attrs["comment"]  # of packing
    rain.encoding["preferred_chunks"] = {"time": 1, "y": -1, "x": -1}
    return dataset


class _Frames(BackendArray):
    """Rain rate (T, H, W) of the frames of a file, read as they are looked at."""

    def __init__(
        self,
        path: Path,
        signature: FileSignature,
        numbers: list[int],
        shape: tuple[int, int],
        z_r: tuple[float, float],
        sha256: str,
        hints: FileHints,
    ) -> None:
        self.path, self.signature, self.numbers = path, signature, numbers
        self.z_r, self.sha256, self.hints = z_r, sha256, hints
        self.shape, self.dtype = (len(numbers), *shape), np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._of)

    def _of(self, key: tuple[Any, ...]) -> Any:
        from pipelines.common.errors import as_unreadable
        from pipelines.common.provenance import FileSignature
        from pipelines.radar.readers.read import read_frame

        which, rows, columns = key
        frames = []
        for number in np.atleast_1d(np.array(self.numbers)[which]):
            with _ONE_AT_A_TIME:
                rain_rate = read_frame(self.path, self.z_r, int(number), self.sha256, self.hints).rain_rate
            frames.append(rain_rate[rows][..., columns])
        with as_unreadable(self.path):  # a name like latest.h5 is another file in five minutes
            if FileSignature.of(self.path) != self.signature:
                raise ValueError("it changed since it was opened")
        if not frames:
            return np.empty((0, *self.shape[1:]), self.dtype)[:, rows][..., columns]
        found = np.stack(frames)
        return found[0] if np.ndim(which) == 0 and not isinstance(which, slice) else found
