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

from pipelines.common.files import entries, force_to_disk, link
from pipelines.common.rights import Rights
from pipelines.radar.clock import missing_times
from pipelines.radar.frame import NO_DATA, PackedRain
from pipelines.radar.store import CLOCK, COMPRESSOR, Rows, frames_outline, shard_frames

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


def link_shards(shards: Sequence[Path], store: Path) -> None:
    """Make the pixels of a store hard links to ``shards``; in those of a store that was, what isn't so is replaced.

    A link takes two folders, and to make and remove these, thousands of them, takes longer than all else.
    """
    pixels = store / PIXELS
    top = os.fspath(pixels)
    found = {f"{top}/{number}/0/0": (shard, shard.stat()) for number, shard in enumerate(shards)}
    wanted = {path: (shard, stat) for path, (shard, stat) in found.items() if stat.st_size}
    files = (entry for entry in entries(pixels) if not isinstance(entry, Path))
    there = {entry.path: entry.stat(follow_symlinks=False) for entry in files}
    good = {path for path, stat in there.items() if path in wanted and os.path.samestat(stat, wanted[path][1])}
    bad = {Path(path).relative_to(pixels).parts[0] for path in there.keys() - good}
    for name in os.listdir(pixels) if pixels.exists() else ():  # noqa: PTH208 - there are thousands
        link_path, one = f"{top}/{name}/0/0", pixels / name
        if name in bad or link_path not in good:
            good.discard(link_path)
            shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
    for path in sorted(wanted.keys() - good):
        Path(path).parent.mkdir(parents=True)
        link(wanted[path][0], Path(path))


def pixels_inside(store: Path) -> bool:
    """Return whether a store's pixels are in its own folder, no link having put them elsewhere."""
    return (store / PIXELS).resolve() == store.resolve() / PIXELS


def assemble(rows: Rows, shards: Sequence[Path], store: Path, rights: Rights, replaced: Path | None = None) -> None:
    """Write the store of some rows, whose pixels are in ``shards``; ``store`` must not be there yet.

    It is on the disk then: its shards were when they were made, and that isn't waited for again, thousands of times.
    The links of a store that was ``replaced``, if any, are moved into it, so that those alone are made that are new.
    """
    frames_outline(rows, rights).to_zarr(store, mode="w-", zarr_format=3, consolidated=False, compute=False)
    if replaced is not None and (replaced / PIXELS).is_dir() and pixels_inside(replaced):
        (replaced / PIXELS).rename(store / PIXELS)
    link_shards(shards, store)
    missing = missing_times(rows.time)
    if missing is not None and missing.size:
        # What mlcast asks for where frames are missing; without a time zone, or its validator fails.
        named = xr.Variable(
            "missing_times", missing, {"standard_name": "time", "long_name": "times of missing frames"}, CLOCK
        )
        attributes = dict(zarr.open_group(store, mode="r").attrs) | {"consistent_timestep_start": str(rows.time[0])}
        xr.Dataset(coords={"missing_times": named}, attrs=attributes).to_zarr(store, mode="a", consolidated=False)
    pixels = f"{store / PIXELS}{os.sep}"
    force_to_disk(Path(file) for file in entries(store) if not os.fspath(file).startswith(pixels))
