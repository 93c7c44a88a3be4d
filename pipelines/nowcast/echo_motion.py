"""Motion of the echo from frame to frame: the target of subtask T².

Windows lie in moving coordinates: what moves there is what the steady motion of the whole echo doesn't tell.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipelines.nowcast.methods.lagrangian import optical_flow
from pipelines.nowcast.windows import Draw, RadarWindows
from pipelines.radar.frame import Rain


def echo_motion(rain_rate: Rain) -> NDArray[np.float32]:
    """Return the motion from each frame to the next, (T - 1, 2, H, W), x and y, pixels a frame."""
    return np.ascontiguousarray(optical_flow(rain_rate).transpose(0, 3, 1, 2))


class WithMotion(Dataset[tuple[Tensor, Tensor]]):
    """Windows with the motion from their newest observed frame on: (T, 1, H, W) and (leads, 2, H, W).

    Parameters
    ----------
    windows : RadarWindows
    """

    def __init__(self, windows: RadarWindows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, i: int | Draw) -> tuple[Tensor, Tensor]:
        window = self.windows[i]
        return window, torch.from_numpy(echo_motion(window[self.windows.inputs - 1 :, 0].numpy()))
