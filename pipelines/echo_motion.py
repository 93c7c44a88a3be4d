"""Motion of the echo from frame to frame: the target of subtask T²."""

from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipelines.forecasters import DRY, Rain
from pipelines.windows import RadarWindows

HEAVIEST = 50.0  # mm/h, the brightest that the optical flow sees


def echo_motion(rain_rate: Rain) -> NDArray[np.float32]:
    """Dense optical flow (DIS) of the logarithm of rain rate.

    Parameters
    ----------
    rain_rate : ndarray of shape (T, H, W), mm/h with NaN

    Returns
    -------
    ndarray of shape (T - 1, 2, H, W)
        x and y displacement from each frame to the next, pixels a frame. Where there is no echo it means nothing.

    References
    ----------
    Kroeger et al. 2016, arXiv:1603.03590; OpenCV's DISOpticalFlow.
    """
    decibels = np.log10(np.nan_to_num(rain_rate).clip(DRY, HEAVIEST) / DRY) / np.log10(HEAVIEST / DRY)
    images = (255 * decibels).astype(np.uint8)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flows = [dis.calc(a, b, np.zeros((*a.shape, 2), np.float32)) for a, b in pairwise(images)]
    return np.stack(flows).transpose(0, 3, 1, 2).astype(np.float32)


class WithMotion(Dataset[tuple[Tensor, Tensor]]):
    """Windows with the motion from their newest observed frame on: (T, 1, H, W) and (leads, 2, H, W).

    Parameters
    ----------
    windows : RadarWindows
    inputs : int
        Observed frames of a window.
    """

    def __init__(self, windows: RadarWindows, inputs: int) -> None:
        self.windows, self.inputs = windows, inputs

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        window = self.windows[i]
        return window, torch.from_numpy(echo_motion(window[self.inputs - 1 :, 0].numpy()))
