"""Dense optical flow between pictures."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def optical_flow(
    pictures: Iterable[NDArray[Any]], preset: int, *, from_rest: bool = False
) -> Iterator[NDArray[np.float32]]:
    """Yield the displacement of each pixel (H, W) from each picture to the next, by DIS.

    Parameters
    ----------
    pictures : iterable of ndarrays of shape (H, W), uint8
    preset : int
        One of cv2.DISOPTICAL_FLOW_PRESET_*: how fine it is, and what it costs.
    from_rest : bool
        Whether DIS gets an initial flow of zeros; what it finds isn't the same without one.

    Yields
    ------
    ndarray of shape (H, W, 2)
        x (to the right) and y (down), pixels.

    References
    ----------
    Kroeger et al. 2016, arXiv:1603.03590; OpenCV's DISOpticalFlow.
    """
    dis: Any = cv2.DISOpticalFlow.create(preset)
    for before, after in pairwise(pictures):
        yield dis.calc(before, after, np.zeros((*before.shape, 2), np.float32) if from_rest else None)
