"""Optical flow between frames: the target of subtask T²."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.common.optical_flow import optical_flow

SCALE = 4  # pixels of a frame to one cell of its flow, each way


def flow_between(frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the dense optical flow of luminance, averaged over cells of `SCALE` × `SCALE` pixels.

    Parameters
    ----------
    frames : sequence of ndarrays of shape (H, W, 3), uint8
        RGB; H and W are multiples of `SCALE`.

    Returns
    -------
    ndarray of shape (T - 1, H / SCALE, W / SCALE, 2)
        Displacement from each frame to the next in pixels of the frames: x (to the right), y (down).
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    H, W = grey[0].shape
    flow = np.empty((len(grey) - 1, H // SCALE, W // SCALE, 2), np.float32)
    flows = optical_flow(grey, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, from_rest=True)
    for cells, pixels in zip(flow, flows, strict=True):
        cv2.resize(pixels, (W // SCALE, H // SCALE), dst=cells, interpolation=cv2.INTER_AREA)
    return flow
