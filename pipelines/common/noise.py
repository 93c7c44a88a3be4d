"""Noise for textures of simulated pictures."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter


def smooth_noise(rng: np.random.Generator, size: int, width: float) -> NDArray[np.float64]:
    """Return noise (size, size) from 0 to 1 whose edges join, smooth over ``width`` pixels."""
    field = gaussian_filter(rng.normal(size=(size, size)), width, mode="wrap")
    return np.clip(0.5 + 0.3 * (field - field.mean()) / field.std(), 0, 1)
