"""Showers that only move."""

import numpy as np
from scipy.ndimage import gaussian_filter


def rigid(count: int, *, dx: int, dy: int, shape: tuple[int, int] = (128, 160), seed: int = 0) -> np.ndarray:
    """Showers that only move, by whole pixels: dx columns east and dy rows south a frame; (count, H, W) mm/h."""
    H, W = shape
    margin = count * max(abs(dx), abs(dy))
    texture = gaussian_filter(np.random.default_rng(seed).standard_normal((H + 2 * margin, W + 2 * margin)), 4)
    rain = np.where(texture > 0.3 * texture.std(), np.exp(1.2 * texture / texture.std()), 0).astype(np.float32)
    corners = [(margin - dy * t, margin - dx * t) for t in range(count)]
    return np.stack([rain[y : y + H, x : x + W] for y, x in corners])
