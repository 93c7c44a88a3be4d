"""A store of frames from finished shards: each is made once, whatever ends the run, and then only linked.

A shard's bytes are those of its frames, so it is kept under a name made of their files' hashes. A store is its
coordinates and metadata, written anew, and hard links to its shards.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import xarray as xr
import zarr

from pipelines.common.files import force_to_disk, leaves, link
from pipelines.common.rights import Rights
from pipelines.radar.clock import missing_times
from pipelines.radar.frame import NO_DATA, FrameHeader, PackedRain
from pipelines.radar.store import CLOCK, COMPRESSOR, frames_outline, shard_frames

PIXELS = Path("rainfall_flux", "c")
Source = tuple[str, int]  # a file's hex digest, and which of its frames


class Shards:
    """Finished shards in a folder, of frames that were decoded by the same code with the same parameters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sources: Sequence[Source | None]) -> Path:
        """Return where a shard is once it is finished; ``sources`` says what each of its rows is made of, if any."""
        text = "\n".join(f"{source[0]}#{source[1]}" if source else "" for source in sources)
        return self.folder / hashlib.sha256(text.encode()).hexdigest()

    def names(self) -> set[str]:
        """Return the names of the finished shards, and of what a killed run left.

        A folder of NFS that was asked for a file in vain says for half a minute that it isn't there: of what other
        hosts make there is no asking but this.
        """
        self.folder.mkdir(exist_ok=True)
        return {path.name for path in self.folder.iterdir()}

    def make(self, frames: Sequence[PackedRain | None], sources: Sequence[Source | None]) -> None:
        """Make the shard of ``frames`` (H, W), of which one at least is there, whole or not at all."""
        self.folder.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=self.folder) as temporary:
            shape = next(frame.shape for frame in frames if frame is not None)
            nothing = np.full(shape, NO_DATA, np.uint16)
            zarr.create_array(
                temporary,
                data=np.stack([nothing if frame is None else frame for frame in frames]),
                chunks=(1, *shape),
                shards=(shard_frames(shape), *shape),
                compressors=COMPRESSOR,
                fill_value=NO_DATA,
            )
            made = Path(temporary, "c", "0", "0", "0")
            made.parent.mkdir(parents=True, exist_ok=True)
            with made.open("ab") as stream:  # Zarr writes no shard of missing values alone: then an empty file
                os.fsync(stream.fileno())
            made.replace(self.path(sources))

    def remove_all_but(self, wanted: set[Path]) -> None:
        """Remove the shards that are in no store any more."""
        for path in self.folder.iterdir():
            if path not in wanted:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def assemble(frames: Sequence[FrameHeader], shards: Sequence[Path], store: Path, rights: Rights) -> None:
    """Write the store of ``frames``, whose pixels are in ``shards``; ``store`` must not be there yet.

    It is on the disk then: its shards were when they were made, and that isn't waited for again, thousands of times.
    """
    frames_outline(frames, rights).to_zarr(store, mode="w-", zarr_format=3, consolidated=False, compute=False)
    for number, shard in enumerate(shards):
        if not shard.stat().st_size:
            continue
        target = store / PIXELS / str(number) / "0" / "0"
        target.parent.mkdir(parents=True)
        link(shard, target)
    time = np.array([frame.time for frame in frames], dtype="datetime64[s]")
    missing = missing_times(time)
    if missing is not None and missing.size:
        # What mlcast asks for where frames are missing; without a time zone, or its validator fails.
        named = xr.Variable(
            "missing_times", missing, {"standard_name": "time", "long_name": "times of missing frames"}, CLOCK
        )
        attributes = dict(zarr.open_group(store, mode="r").attrs) | {"consistent_timestep_start": str(time[0])}
        xr.Dataset(coords={"missing_times": named}, attrs=attributes).to_zarr(store, mode="a", consolidated=False)
    force_to_disk(file for file in leaves(store) if not file.is_relative_to(store / PIXELS))
