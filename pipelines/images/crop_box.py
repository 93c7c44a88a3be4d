"""The square of an image that becomes a crop, and how coordinates go from the one to the other.

Coordinates are x, y, in pixels, from the left upper corner of the left upper pixel: its centre is (0.5, 0.5).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from pipelines.common.errors import UserError

SIZE = 224  # rows and columns of a crop
MARGIN = 0.15  # on each side of the box, in shares of its longer side
GREY = 127  # where a crop has no image: it reaches beyond the border
SMALLEST = 2  # pixels that a box has in each direction at least, of the image and of the crop


@dataclass(frozen=True)
class CropBox:
    """A square of an image.

    Parameters
    ----------
    x0, y0 : float
        Its left upper corner, in pixels of the image; may be outside of it.
    side : float
        In pixels of the image.
    size : int
        Rows and columns of the crop that is made of it.
    """

    x0: float
    y0: float
    side: float
    size: int = SIZE

    def to_crop(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return where points (..., 2) of the image are in the crop."""
        return (np.asarray(points, np.float64) - (self.x0, self.y0)) * (self.size / self.side)

    def to_image(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return where points (..., 2) of the crop are in the image."""
        return np.asarray(points, np.float64) * (self.side / self.size) + (self.x0, self.y0)

    def cut(self, image: NDArray[np.uint8] | Image.Image) -> NDArray[np.uint8]:
        """Return the crop (size, size, 3) of an RGB image (H, W, 3): resized with a triangle filter, `GREY` beyond it.

        A pixel of the crop that the image's border goes through is grey too.
        """
        height, width = image.shape[:2] if isinstance(image, np.ndarray) else image.size[::-1]
        step = self.side / self.size
        x, left, right = self._inside(self.x0, width)
        y, top, bottom = self._inside(self.y0, height)
        source = np.array(
            [
                max(self.x0 + left * step, 0),
                max(self.y0 + top * step, 0),
                min(self.x0 + right * step, width),
                min(self.y0 + bottom * step, height),
            ]
        )
        if isinstance(image, np.ndarray):  # the rest of a large image isn't touched
            image = Image.fromarray(np.ascontiguousarray(image[y, x]))
            source -= [x.start, y.start] * 2
        patch = image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, tuple(source.tolist()))
        if patch.size == (self.size, self.size):
            return np.asarray(patch)
        crop = np.full((self.size, self.size, 3), GREY, np.uint8)
        crop[top:bottom, left:right] = np.asarray(patch)
        return crop

    def _inside(self, start: float, length: int) -> tuple[slice, int, int]:
        """Pixels of the image that the crop is made of, in one direction; first and last + 1 of the crop's in them."""
        step = self.side / self.size
        first = max(math.ceil(-start / step - 1e-9), 0)
        end = min(math.floor((length - start) / step + 1e-9), self.size)
        reach = math.ceil(max(step, 1)) + 1  # of the filter
        low = math.floor(start + first * step) - reach
        high = math.ceil(start + end * step) + reach
        return slice(max(low, 0), min(high, length)), first, end


def crop_box(box: Sequence[float], image_size: tuple[int, int], margin: float = MARGIN, size: int = SIZE) -> CropBox:
    """Return the square around a box: of its longer side and the margin, the box in the middle.

    Parameters
    ----------
    box : sequence of 4 floats
        x0, y0, x1, y1 in pixels of the image; what of it is outside the image is cut off.
    image_size : (int, int)
        Rows and columns of the image.
    margin : float
        On each side, in shares of the box's longer side.
    size : int
        Rows and columns of the crop.

    Raises
    ------
    UserError
        If it is no box, outside the image, or too small or too thin to be seen.
    """
    text = f"box {','.join(f'{value:g}' for value in box)}"
    if len(box) != 4 or not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
        raise UserError(f"{text}: x0,y0,x1,y1 with x0 < x1 and y0 < y1 are wanted")
    height, width = image_size
    x0, y0, x1, y1 = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    if x0 >= x1 or y0 >= y1:
        raise UserError(f"{text}: outside the image, which has {width} × {height} pixels")
    side = max(x1 - x0, y1 - y0) * (1 + 2 * margin)
    least = SMALLEST * max(1.0, side / size)
    if min(x1 - x0, y1 - y0) < least:
        raise UserError(
            f"{text}: {x1 - x0:g} × {y1 - y0:g} pixels of the image; {least:g} in each direction are wanted"
        )
    return CropBox((x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side, size)
