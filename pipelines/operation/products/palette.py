"""Pictures with a common palette, as an animated GIF wants them; given colours are kept exactly."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.spatial import cKDTree

COLOURS = 128
BITS = 6  # of a channel, by which the nearest colour of the palette is looked up

RGB = NDArray[np.uint8]


def with_common_palette(pictures: Sequence[RGB], sample: RGB, exact: ArrayLike) -> list[Image.Image]:
    """Return pictures the same few colours: every pixel the nearest one.

    Parameters
    ----------
    pictures : sequence of ndarray of shape (rows, columns, 3)
    sample : ndarray of shape (rows, columns, 3)
        What the colours are chosen from.
    exact : array-like of shape (K, 3)
        Colours that are to come out as they are.
    """
    kept = np.asarray(exact, np.uint8)
    chosen = Image.fromarray(sample).quantize(COLOURS - len(kept), dither=Image.Dither.NONE)
    colours = np.concatenate([kept, np.reshape(chosen.getpalette() or [], (-1, 3))]).astype(np.uint8)[:COLOURS]
    shades = np.arange(1 << BITS) * (256 >> BITS) + (128 >> BITS)
    nearest = cKDTree(colours).query(np.stack(np.meshgrid(shades, shades, shades, indexing="ij"), -1).reshape(-1, 3))[1]
    nearest[_code(kept)] = np.arange(len(kept))
    nearest = nearest.astype(np.uint8)
    made = []
    for picture in pictures:
        image = Image.fromarray(nearest[_code(picture)])
        image.putpalette(colours.tobytes())
        made.append(image)
    return made


def _code(rgb: RGB) -> NDArray[np.int32]:
    red, green, blue = np.moveaxis(rgb.astype(np.int32) >> (8 - BITS), -1, 0)
    return (red << 2 * BITS) | (green << BITS) | blue
