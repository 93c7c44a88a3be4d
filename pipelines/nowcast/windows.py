"""The windows of an index as training samples."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from pipelines.nowcast.methods.lagrangian import align, echo_flow, follow, motion
from pipelines.params.nowcast import Coordinates
from pipelines.radar.cadence import open_frames_at
from pipelines.radar.frame import Rain

FRAMES_IN_MEMORY = 2 << 30  # bytes of decoded frames kept


class Draw(NamedTuple):
    """One draw of a sampler: the row of the index, and the seed of the window's variation."""

    row: int
    seed: tuple[int, ...]


class RadarWindows(Dataset[Tensor]):
    """Windows of one split, each (T, 1, size, size) rain rate in mm/h with NaN.

    In moving coordinates frames lie as the rain does in the newest observed one, by the motion of the whole grid (see
    `pipelines.nowcast.methods.lagrangian`): what comes from outside the window is seen, and nothing is lost at its
    edges. In fixed ones they are as they were seen, and never varied.

    Parameters
    ----------
    windows : DataFrame
        Rows of the index.
    inputs, leads : int
        Observed and later frames of a window, T together.
    size : int
        Rows and columns of a window.
    step_s : int or None
        Seconds from frame to frame that the index was made for; see `pipelines.radar.cadence`.
    coordinates : {"moving", "fixed"}
    """

    def __init__(
        self,
        windows: pd.DataFrame,
        inputs: int,
        leads: int,
        size: int,
        step_s: int | None = None,
        coordinates: Coordinates = "moving",
    ) -> None:
        self.coordinates = coordinates
        self.windows, self.inputs, self.leads, self.size = windows.reset_index(drop=True), inputs, leads, size
        stores = self.windows["store"].unique()
        self.rain = {store: open_frames_at(Path(store), step_s)["rainfall_flux"] for store in stores}
        frame_bytes = max(4 * rain.shape[1] * rain.shape[2] for rain in self.rain.values())
        self.frame = lru_cache(maxsize=max(inputs + leads, FRAMES_IN_MEMORY // frame_bytes))(self._read)
        # Motion is smooth: every 4th pixel tells it.
        self.coarse_motion = lru_cache(maxsize=max(1, 4 * FRAMES_IN_MEMORY // frame_bytes))(self._motion)

    def _read(self, store: str, t: int) -> Rain:
        return self.rain[store][t].to_numpy().astype(np.float32)

    def _motion(self, store: str, t0: int) -> NDArray[np.float32]:
        field = motion(np.stack([self.frame(store, t) for t in range(t0, t0 + self.inputs)]))
        return np.asarray(cv2.resize(field, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), np.float32)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, i: int | Draw) -> Tensor:
        row, seed = (i.row, i.seed) if isinstance(i, Draw) else (i, None)
        store, t0, y0, x0 = self.windows.loc[row, ["store", "t0", "y0", "x0"]]
        frames = [self.frame(store, t) for t in range(t0, t0 + self.inputs + self.leads)]
        square = slice(y0, y0 + self.size), slice(x0, x0 + self.size)
        if self.coordinates == "fixed":
            return torch.from_numpy(np.stack([frame[square] for frame in frames]))[:, None]
        H, W = frames[0].shape
        field = np.asarray(cv2.resize(self.coarse_motion(store, t0), (W, H)), np.float32)
        observed = align(frames[: self.inputs], field, *square)
        window = np.concatenate([observed, follow(frames[self.inputs :], field, *square)])
        return torch.from_numpy(window if seed is None else vary(window, np.random.default_rng(seed)))[:, None]


def echo_motion(rain_rate: Rain) -> NDArray[np.float32]:
    """Return the echo's motion from each frame to the next, (T - 1, 2, H, W), x and y, pixels a frame.

    Of a window, that is from its newest observed frame on. In moving coordinates, what moves there is what the steady
    motion of the whole echo doesn't tell; in fixed ones, all that moves.
    """
    return np.ascontiguousarray(echo_flow(rain_rate).transpose(0, 3, 1, 2))


class WithMotion(Dataset[tuple[Tensor, Tensor]]):
    """Windows with the target of subtask T², (T, 1, H, W) and (leads, 2, H, W): see :func:`echo_motion`."""

    def __init__(self, windows: RadarWindows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, i: int | Draw) -> tuple[Tensor, Tensor]:
        window = self.windows[i]
        return window, torch.from_numpy(echo_motion(window[self.windows.inputs - 1 :, 0].numpy()))


def vary(window: Rain, rng: np.random.Generator) -> Rain:
    """Return a window turned and mirrored, its rain up to half heavier or a third lighter.

    Weather has no preferred direction in coordinates that move with it, and its statistics change little with such a
    factor. Time is never turned: rain grows otherwise than it decays.
    """
    window = np.rot90(window, int(rng.integers(4)), axes=(1, 2))
    window = window[:, :, :: -1 if rng.integers(2) else 1]
    return np.ascontiguousarray(window * np.float32(1.5 ** rng.uniform(-1, 1)))


class EpochSampler(Sampler[Draw]):
    """``samples`` draws an epoch, a function of (seed, epoch) alone, so that a resumed run draws what it would have.

    Windows are drawn with replacement and varied, each with a probability that grows with its wet fraction: dry windows
    teach little and are many. With ``archives``, the archive of each, every archive is drawn from as often.
    """

    def __init__(self, wet_area_ratio: np.ndarray, samples: int, seed: int, archives: np.ndarray | None = None) -> None:
        weight = pd.Series(wet_area_ratio + 0.05)
        if archives is not None:
            weight /= weight.groupby(archives).transform("sum")
        self.probability = (weight / weight.sum()).to_numpy()
        self.samples, self.seed, self.epoch = samples, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to draw; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng((self.seed, self.epoch))
        rows = rng.choice(self.probability.size, self.samples, p=self.probability).tolist()
        return (Draw(row, (self.seed, self.epoch, number)) for number, row in enumerate(rows))
