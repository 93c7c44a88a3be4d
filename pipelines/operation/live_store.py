"""The live store: the newest frames of a radar in an Icechunk repository that grows by one transaction an append.

It holds what `pipelines.radar.store` says, one chunk a frame. A snapshot id names a state of it for as long as it is
kept.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import xarray as xr
import zarr
from icechunk import ManifestConfig, ManifestSplitCondition, ManifestSplitDimCondition, ManifestSplittingConfig
from numpy.typing import NDArray

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import atomic_path, exclusive
from pipelines.common.full_disk import told_when_full
from pipelines.common.rights import Rights
from pipelines.params.operation import Domain
from pipelines.radar.frame import MAXIMUM, RESOLUTION, Frame
from pipelines.radar.store import decode_frames, difference, frames_dataset, frames_of

BRANCH = "main"
NOTHING_YET = "no live store: nothing has been appended yet"
MANIFEST_FRAMES = 1024  # a commit writes a manifest of so many chunks again, not one of all
icechunk.set_logs_filter("error")  # it warns of overlapping commits on a file system, which our lock rules out


@dataclass(frozen=True)
class Appended:
    """What became of frames that were handed to :meth:`LiveStore.append`.

    Parameters
    ----------
    snapshot : str
        Id of the store's state, with the frames in it.
    new : list of bool
        For each frame, in the order given: whether it came into the store now.
    refusals : list of str or None
        Likewise: why it is not in the store, or None if it is, now or since before.
    """

    snapshot: str
    new: list[bool]
    refusals: list[str | None]


class LiveStore:
    """Frames of one grid and one kind of product, in time order, each once.

    Parameters
    ----------
    path : Path
        Folder of the repository; made by the first append. A lock file lies beside it.
    rights : Rights
        Of the data.
    """

    def __init__(self, path: Path, rights: Rights) -> None:
        self.path, self.rights = path, rights

    @classmethod
    def of(cls, domain: Domain) -> "LiveStore":
        """Return a domain's store."""
        return cls(domain.store, Rights(domain.license, domain.attribution))

    def append(self, frames: Sequence[Frame]) -> Appended:
        """Put frames into the store: all that can be, in one transaction, or none.

        A frame whose time and content are there already changes nothing. One that contradicts a stored frame of its
        time, or is of another grid or kind than the store's frames, is refused; a new store takes the most common, as
        ingestion does. Frames may come in any order.

        Raises
        ------
        Unavailable
            If another process is writing for longer than a minute, or the disk is full.
        """
        # Overlapping commits on a file system are lost without a word; so one writer from session to commit.
        with exclusive(self.path.with_name(f".{self.path.name}.lock")), told_when_full(self.path):
            session = self._repository(create=True).writable_session(BRANCH)
            stored = self._decoded(session)
            taken, refusals = _choose(frames, stored)
            new = [frame in taken for frame in frames]
            if not taken:
                return Appended(session.snapshot_id, new, refusals)
            dataset = frames_dataset(taken, self.rights, sharded=False)
            if stored is None:
                dataset.to_zarr(session.store, mode="w", zarr_format=3, consolidated=False)
            else:
                _append_in_order(dataset, stored, session.store)
            message = f"{len(taken)} frame(s), {taken[0].time} to {taken[-1].time} UTC"
            return Appended(session.commit(message), new, refusals)

    def expire(self, times: Sequence[np.datetime64], snapshots_before: datetime) -> int:
        """Take frames out of the store, in one transaction, and free what nothing names any more; return how many.

        Parameters
        ----------
        times : sequence of datetime64
            Of the frames to take out; the newest frame stays, whatever is asked for.
        snapshots_before : datetime
            With a time zone. States of the store that are older can't be opened any more, and what only they hold is
            removed. A later state still holds the frames that are taken out now; a later call removes them.

        Raises
        ------
        UserError
            If there is no store.
        Unavailable
            If another process is writing for longer than a minute, or the disk is full.
        """
        with exclusive(self.path.with_name(f".{self.path.name}.lock")), told_when_full(self.path):
            repository = self._repository(create=False)
            session = repository.writable_session(BRANCH)
            stored = self._decoded(session)
            if stored is None:
                raise UserError(f"{self.path}: {NOTHING_YET}")
            keep = ~np.isin(stored["time"].to_numpy(), np.asarray(times, "datetime64[s]"))
            keep[-1] = True
            if not keep.all():
                _keep_only(np.flatnonzero(keep), stored, session.store)
                session.commit(f"{np.count_nonzero(~keep)} frame(s) expired")
            # Both are safe beside readers of what is kept, and the lock rules out writers.
            repository.expire_snapshots(older_than=snapshots_before)
            repository.garbage_collect(delete_object_older_than=snapshots_before)
            return int(np.count_nonzero(~keep))

    def open(self, snapshot: str | None = None) -> xr.Dataset:
        """Open a state of the store, the newest unless ``snapshot`` names another; attribute ``snapshot`` is its id.

        Frames are read when they are used, and from that state, whatever is appended meanwhile.

        Raises
        ------
        UserError
            If there is no store or no such snapshot.
        """
        repository = self._repository(create=False)
        try:
            if snapshot is None:
                session = repository.readonly_session(BRANCH)
            else:
                session = repository.readonly_session(snapshot_id=snapshot)
        except icechunk.IcechunkError as error:
            raise UserError(f"{self.path}: {in_short(error)}") from None
        dataset = self._decoded(session)
        if dataset is None:
            raise UserError(f"{self.path}: {NOTHING_YET}")
        return dataset.assign_attrs(snapshot=session.snapshot_id)

    def _repository(self, *, create: bool) -> icechunk.Repository:
        if not create and not self.path.is_dir():
            raise UserError(f"{self.path}: {NOTHING_YET}")
        split: Any = {
            ManifestSplitCondition.AnyArray(): {ManifestSplitDimCondition.DimensionName("time"): MANIFEST_FRAMES}
        }
        config = icechunk.RepositoryConfig.default()
        config.manifest = ManifestConfig(splitting=ManifestSplittingConfig.from_dict(split))
        try:
            if create and not (self.path.is_dir() and any(self.path.iterdir())):
                with atomic_path(self.path.resolve()) as temporary:  # half of one could never be opened
                    icechunk.Repository.create(icechunk.local_filesystem_storage(str(temporary)), config)
            return icechunk.Repository.open(icechunk.local_filesystem_storage(str(self.path)), config)
        except icechunk.IcechunkError as error:
            raise UserError(f"{self.path}: not an Icechunk repository: {in_short(error)}") from None

    def _decoded(self, session: icechunk.Session) -> xr.Dataset | None:
        try:
            raw = xr.open_zarr(session.store, chunks=None, consolidated=False, mask_and_scale=False, decode_times=False)
        except zarr.errors.GroupNotFoundError:
            return None
        return decode_frames(raw, str(self.path))


def _choose(frames: Sequence[Frame], stored: xr.Dataset | None) -> tuple[list[Frame], list[str | None]]:
    """Choose the frames to store, in time order, and say of each in the order given why it can't be, if so."""
    refusals: list[str | None] = [None] * len(frames)
    order = sorted(range(len(frames)), key=lambda i: frames[i].time)
    if not order:
        return [], refusals
    first = _most_common([frames[i] for i in order]) if stored is None else frames_of(stored.isel(time=[0]))[0]
    stored_sha256: dict[np.datetime64, str] = {}
    if stored is not None:
        times = stored["time"].to_numpy().astype("datetime64[s]")
        stored_sha256 = dict(zip(times, stored["source_sha256"].to_numpy(), strict=True))
    taken: dict[np.datetime64, Frame] = {}
    for i in order:
        frame = frames[i]
        if words := difference(first, frame):
            refusals[i] = f"not as the frames of the store: {words}"
        elif frame.time in taken:
            refusals[i] = _conflict(frame, taken[frame.time])
        elif stored is None or frame.time not in stored_sha256:
            taken[frame.time] = frame
        elif frame.sha256 != stored_sha256[frame.time]:
            refusals[i] = _conflict(frame, frames_of(stored.sel(time=[frame.time]))[0])
    return list(taken.values()), refusals


def _most_common(frames: Sequence[Frame]) -> Frame:
    """Return the first of the frames of the most common grid and kind, the first of these where equally common."""
    kinds = Counter[int]()
    for frame in frames:
        kinds[next(i for i, other in enumerate(frames) if difference(other, frame) is None)] += 1
    return frames[kinds.most_common(1)[0][0]]


def _conflict(frame: Frame, other: Frame) -> str | None:
    """Return in words that ``frame`` contradicts the ``other`` of its time; None if it only repeats it."""
    rain_rate = frame.rain_rate.clip(0, MAXIMUM)
    if frame.sha256 == other.sha256 or np.allclose(rain_rate, other.rain_rate, 0, 0.51 * RESOLUTION, equal_nan=True):
        return None
    return f"conflict: other content for {frame.time} UTC than {other.source}, which is stored"


def _append_in_order(dataset: xr.Dataset, stored: xr.Dataset, store: icechunk.IcechunkStore) -> None:
    """Append frames, then move those that belong further up there, one chunk a time, as they are packed."""
    growing = [name for name, variable in dataset.variables.items() if "time" in variable.dims]
    late = dataset["time"].to_numpy() < stored["time"].to_numpy()[-1]
    addition = dataset.drop_vars(set(dataset.variables) - set(growing))
    if late[-1]:
        addition.attrs = stored.attrs  # they name the newest frame's time
    addition.to_zarr(store, append_dim="time", consolidated=False)
    if not late.any():
        return
    count = stored.sizes["time"]
    group: Any = zarr.open_group(store)
    order = group["time"][:].argsort()
    start = int((order != np.arange(order.size)).argmax())
    for name in growing:
        array = group[name]
        if name != "rainfall_flux":
            array[start:] = array[:][order[start:]]
            continue
        new = array[count:]
        # From the end: what is read then lies where nothing has been written.
        for to in range(order.size - 1, start - 1, -1):
            array[to] = array[order[to]] if order[to] < count else new[order[to] - count]


def _keep_only(kept: NDArray[np.intp], stored: xr.Dataset, store: icechunk.IcechunkStore) -> None:
    """Move the frames of the indices ``kept``, in order, to the front, as they are packed, and drop the rest."""
    group: Any = zarr.open_group(store)
    for name, variable in stored.variables.items():
        if "time" not in variable.dims:
            continue
        array = group[name]
        if name == "rainfall_flux":
            for to, index in enumerate(kept):
                if to != index:
                    array[to] = array[index]
        else:
            array[: kept.size] = array[:][kept]
        array.resize((kept.size, *array.shape[1:]))
