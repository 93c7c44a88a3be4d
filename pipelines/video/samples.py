"""Pieces of clips as training samples."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipelines.common.errors import UserError
from pipelines.video.clips import Clips
from pipelines.video.optical_flow import SCALE, flow_between

NO_FLOW = np.zeros((0, 0, 0, 2), np.float32)
BYTES_A_PIXEL = 3.5  # of a frame in memory, with its flow

Piece = tuple[NDArray[np.uint8], NDArray[np.float32]]  # frames (T, H, W, 3), flow (T - 1, H / 4, W / 4, 2)
Sample = tuple[Tensor, int, Tensor] | tuple[Tensor, int]


def to_input(frames: Tensor) -> Tensor:
    """Turn uint8 pixels, of any shape, into what the network wants: about zero mean and unit variance."""
    return (frames.float() - 127.5) / 64.0


class ClipSamples(Dataset[Sample]):
    """Pieces of the clips of one split: frames, label and, if asked for, optical flow.

    Sample ``n`` is a piece of clip ``n % len``. Of the train split its first frame and its square are drawn, a function
    of (seed, n) alone; `pipelines.training.pass_sampler` counts n on from epoch to epoch. Of other splits both are the
    middle ones. Nothing is mirrored or turned: that would make another class of a motion.

    ========  =======  ====================  =====================================================================
    frames    uint8    (T, 3, H, W)          RGB; a clip shorter than T holds its last frame
    label     int                            number into ``clips.classes``
    flow      float32  (T - 1, 2, H/4, W/4)  from each frame to the next, x and y, in pixels of the frames a frame
    ========  =======  ====================  =====================================================================

    The flow is that of the whole frames, cut out; it is read where the store has it, and else computed. Where all clips
    of the split fit into ``keep_bytes``, each is read once and kept, with its flow; else pieces are read as they are
    asked for.

    Parameters
    ----------
    clips : Clips
    split : str
        train, validation or test.
    length : int
        Frames of a sample (T).
    size : int
        Rows and columns of a sample (H, W), a multiple of 4.
    flow : bool
        Whether a sample has optical flow.
    seed : int
        Of the draws.
    keep_bytes : int
        Memory for decoded frames and flow; each worker of a loader has its own.

    Raises
    ------
    UserError
        If the split is empty, or its frames are smaller than ``size``.
    """

    def __init__(
        self,
        clips: Clips,
        split: str,
        length: int,
        size: int,
        *,
        flow: bool,
        seed: int,
        keep_bytes: int = 1 << 30,
    ) -> None:
        self.clips, self.split, self.length, self.size, self.with_flow, self.seed = (
            clips, split, length, size, flow, seed,
        )  # fmt: skip
        table = clips.table[clips.table["split"] == split]
        if table.empty:
            raise UserError(f"{clips.path}: no clip of the split {split!r}")
        if size % SCALE:
            raise UserError(f"size {size}: not a multiple of {SCALE}, the pixels of a cell of the flow")
        smallest = int(table[["height", "width"]].min(axis=None))
        if smallest < size:
            raise UserError(f"{clips.path}: frames of {smallest} pixels, and samples of {size} are asked for")
        self.numbers = table.index.to_numpy()
        self.labels = table["label"].to_numpy()
        self._shapes = table[["frames", "height", "width"]].to_numpy()
        pixels = int(table[["frames", "height", "width"]].prod(axis=1).sum())
        self._kept: dict[int, Piece] | None = {} if pixels * BYTES_A_PIXEL <= keep_bytes else None

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, n: int) -> Sample:
        row = n % len(self)
        frames, height, width = (int(value) for value in self._shapes[row])
        start, top, left = self._corner(n, frames, height, width)
        count = min(self.length, frames)
        whole, flow = self._piece(int(self.numbers[row]), start, count)
        held = np.arange(self.length).clip(max=count - 1)
        pixels = whole[held, top : top + self.size, left : left + self.size].transpose(0, 3, 1, 2)
        sample = torch.from_numpy(np.ascontiguousarray(pixels)), int(self.labels[row])
        return (*sample, self._cut(flow, top, left)) if self.with_flow else sample

    def _corner(self, n: int, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """First frame, row and column of sample ``n``; row and column are on cells of the flow."""
        room = max(frames - self.length, 0), (height - self.size) // SCALE, (width - self.size) // SCALE
        if self.split == "train":
            rng = np.random.default_rng((self.seed, n))
            start, top, left = (int(rng.integers(most + 1)) for most in room)
        else:
            start, top, left = (most // 2 for most in room)
        return start, top * SCALE, left * SCALE

    def _piece(self, number: int, start: int, count: int) -> Piece:
        """Return frames of a clip, and the flow between them."""
        if self._kept is None:
            return self._read(number, start, count)
        if number not in self._kept:
            self._kept[number] = self._read(number, 0, None)
        frames, flow = self._kept[number]
        return frames[start : start + count], flow[start : start + count - 1]

    def _read(self, number: int, start: int, count: int | None) -> Piece:
        frames = self.clips.frames(number, start, count)
        if not self.with_flow:
            return frames, NO_FLOW
        return frames, self.clips.flow(number, start, count) if self.clips.has_flow else flow_between(frames)

    def _cut(self, flow: NDArray[np.float32], top: int, left: int) -> Tensor:
        cells = self.size // SCALE
        cut = flow[:, top // SCALE :, left // SCALE :][:, :cells, :cells].transpose(0, 3, 1, 2)
        out = torch.zeros(self.length - 1, 2, cells, cells)
        out[: len(cut)] = torch.from_numpy(np.ascontiguousarray(cut))  # a held frame doesn't move
        return out
