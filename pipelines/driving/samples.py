"""Windows of drives as training samples."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipelines.common.errors import UserError
from pipelines.driving.drives import Drives
from pipelines.video.optical_flow import flow_between

KEEP_BYTES = 1 << 30

Sample = tuple[Tensor, Tensor, Tensor] | tuple[Tensor, Tensor]


class DriveSamples(Dataset[Sample]):
    """Windows of the drives of one split: frames, the angle of each and, if asked for, optical flow.

    Sample ``n`` is window ``n % len``; whether it is mirrored is a function of (seed, n) alone, see
    `pipelines.training.pass_sampler`.

    ========  =======  ====================  =====================================================================
    frames    uint8    (T, 3, H, W)          RGB
    angles    float32  (T,)                  ``ahead`` frames after each, in the store's unit
    flow      float32  (T - 1, 2, H/4, W/4)  from each frame to the next, x and y, in pixels of the frames a frame
    ========  =======  ====================  =====================================================================

    Mirrored, a sample's angles and its flow to the right have the other sign.

    Parameters
    ----------
    drives : Drives
    split : str
        train, validation or test.
    length : int
        Frames of a window (T).
    ahead : int
        Frames from a frame to its angle.
    flow : bool
        Whether a sample has optical flow.
    mirror : bool
        Whether half of the samples are mirrored.
    seed : int
        Of the draws.
    every : int
        Takes each so-manyth window alone.
    keep_bytes : int
        Memory for frames: where all of the store fit, they are read once.

    Raises
    ------
    UserError
        If the split has no window.
    """

    def __init__(
        self,
        drives: Drives,
        split: str,
        length: int,
        *,
        ahead: int = 0,
        flow: bool = False,
        mirror: bool = False,
        seed: int = 0,
        every: int = 1,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        self.drives, self.length, self.ahead, self.with_flow = drives, length, ahead, flow
        self.mirror, self.seed = mirror, seed
        self.starts = drives.windows(split, length, ahead)[::every]
        if not len(self.starts):
            raise UserError(f"{drives.path}: no {length + ahead} frames on end in the split {split!r}")
        self._angles = drives.rows["angle"].to_numpy()
        H, W = drives.size
        fits = len(drives) * H * W * 3 <= keep_bytes
        self._kept = drives.frames(0, len(drives)) if fits else None
        self._flow: dict[int, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, n: int) -> Sample:
        start = int(self.starts[n % len(self)])
        frames = self.frames(start)
        angles = self._angles[start + self.ahead :][: self.length]
        mirrored = self.mirror and bool(np.random.default_rng((self.seed, n)).integers(2))
        flow = self._flow_of(start, frames) if self.with_flow else None
        if mirrored:
            frames, angles, flow = mirror(frames, angles, flow)
        sample = _tensor(frames.transpose(0, 3, 1, 2)), _tensor(angles)
        return sample if flow is None else (*sample, _tensor(flow.transpose(0, 3, 1, 2)))

    def frames(self, start: int) -> NDArray[np.uint8]:
        """Return the frames (T, H, W, 3) of the window that begins at frame ``start`` of the store."""
        if self._kept is None:
            return self.drives.frames(start, self.length)
        return self._kept[start : start + self.length]

    def _flow_of(self, start: int, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the flow within a window; where frames are kept, each pair's is computed once."""
        if self._kept is None:
            return flow_between(frames)
        for i in range(self.length - 1):
            if start + i not in self._flow:
                self._flow[start + i] = flow_between(frames[i : i + 2])[0]
        return np.stack([self._flow[start + i] for i in range(self.length - 1)])


def mirror(
    frames: NDArray[np.uint8], angles: NDArray[np.float32], flow: NDArray[np.float32] | None
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32] | None]:
    """Return what a drive would be in a mirror: frames (T, H, W, 3), angles, and flow (T - 1, h, w, 2)."""
    return frames[:, :, ::-1], -angles, None if flow is None else flow[:, :, ::-1] * np.array([-1, 1], np.float32)


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.array(values, order="C"))
