"""What a network sees of a camera's frame: the same in a store, in training, and in use."""

import cv2
import numpy as np
from numpy.typing import NDArray


def fit(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return an image (rows, columns, 3) of ``height`` rows and ``width`` columns, undistorted.

    Where it is too high its upper rows are cut off, the sky; where it is too wide, as much on both sides.
    """
    rows, columns = image.shape[:2]
    high = min(rows, max(1, round(columns * height / width)))
    wide = min(columns, max(1, round(rows * width / height)))
    left = (columns - wide) // 2
    seen = image[rows - high :, left : left + wide]
    if seen.shape[:2] == (height, width):
        return np.ascontiguousarray(seen)
    return np.asarray(cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
