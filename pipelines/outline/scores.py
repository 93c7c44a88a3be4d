"""How well a polygon outlines an object: intersection over union of the pixels, and F of the boundary."""

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

from pipelines.images.crop_box import SIZE

Mask = NDArray[np.bool_]


def to_mask(polygon: NDArray[np.floating]) -> Mask:
    """Return the pixels (224, 224) whose middle is inside a polygon (N, 2); even-odd where it crosses itself."""
    if len(polygon) < 3:
        return np.zeros((SIZE, SIZE), bool)
    ring = [tuple(point) for point in polygon] + [tuple(polygon[0])]
    shape = {"type": "Polygon", "coordinates": [ring]}
    return rasterize([shape], out_shape=(SIZE, SIZE), dtype=np.uint8).astype(bool)


def mask_of(logits: NDArray[np.float32]) -> Mask:
    """Return the pixels (224, 224) of a mask from its logits in cells, interpolated."""
    return np.asarray(cv2.resize(logits, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)) > 0


def iou(one: Mask, other: Mask) -> float:
    """Return the intersection over union of two masks; 0 where both are empty."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def boundary_f(predicted: Mask, true: Mask, tolerance: float) -> float:
    """Return the F measure of the boundary's pixels that are within ``tolerance`` pixels of the other's boundary.

    References
    ----------
    Perazzi et al. 2016, A benchmark dataset and evaluation methodology for video object segmentation, section 4.
    """
    boundaries = [_boundary(mask) for mask in (predicted, true)]
    if not all(boundary.any() for boundary in boundaries):
        return 0.0
    shares = [
        float((_distance_to(other)[boundary] <= tolerance).mean())
        for boundary, other in (boundaries, reversed(boundaries))
    ]
    return 2 * shares[0] * shares[1] / sum(shares) if any(shares) else 0.0


def _boundary(mask: Mask) -> Mask:
    """Return the pixels of a mask that have a neighbour outside of it; so does one at the border."""
    inside = cv2.erode(np.pad(mask, 1).astype(np.uint8), np.ones((3, 3), np.uint8))
    return mask & ~inside[1:-1, 1:-1].astype(bool)


def _distance_to(boundary: Mask) -> NDArray[np.float32]:
    away = cv2.distanceTransform((~boundary).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away, np.float32)
