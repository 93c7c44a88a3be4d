"""The windows of an index as training samples."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from pipelines.frames import open_frames

FRAMES_IN_MEMORY = 2 << 30  # bytes of decoded frames kept


class RadarWindows(Dataset[Tensor]):
    """Windows of one split, each (T, 1, size, size) rain rate in mm/h with NaN, T = inputs + leads.

    Parameters
    ----------
    windows : DataFrame
        Rows of the index, all of one store.
    length : int
        Frames of a window, inputs and leads together.
    size : int
        Rows and columns of a window.
    """

    def __init__(self, windows: pd.DataFrame, length: int, size: int) -> None:
        self.windows, self.length, self.size = windows.reset_index(drop=True), length, size
        (store,) = windows["store"].unique()
        self.rain = open_frames(Path(store))["rainfall_flux"]
        frame_bytes = 4 * self.rain.shape[1] * self.rain.shape[2]
        self.frame = lru_cache(maxsize=max(length, FRAMES_IN_MEMORY // frame_bytes))(self._read)

    def _read(self, t: int) -> np.ndarray:
        return self.rain[t].to_numpy().astype(np.float32)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, i: int) -> Tensor:
        t0, y0, x0 = self.windows.loc[i, ["t0", "y0", "x0"]].astype(int)
        square = np.s_[y0 : y0 + self.size, x0 : x0 + self.size]
        return torch.from_numpy(np.stack([self.frame(t)[square] for t in range(t0, t0 + self.length)]))[:, None]


class EpochSampler(Sampler[int]):
    """``samples`` draws an epoch, a function of (seed, epoch) alone, so that a resumed run draws what it would have.

    Windows are drawn with replacement, each with a probability that grows with its wet fraction: dry windows
    teach little and are many.
    """

    def __init__(self, wet_fraction: np.ndarray, samples: int, seed: int) -> None:
        self.probability = (wet_fraction + 0.05) / (wet_fraction + 0.05).sum()
        self.samples, self.seed, self.epoch = samples, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to draw; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        return iter(rng.choice(self.probability.size, self.samples, p=self.probability).tolist())
