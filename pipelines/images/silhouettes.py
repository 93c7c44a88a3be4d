"""The shapes of the embedded scenes' objects: three smooth ones, three angular ones; a third of them concave.

A stretch and a turn leave the share of its convex hull that a shape has as it is.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def pebble(rng: np.random.Generator) -> Points:
    """Return a round shape, a little uneven: 30 vertices (30, 2), about 1 from the middle."""
    angle = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    radius = 1 + sum(rng.normal(0, 0.08 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
    return _polar(radius, angle)


def leaf(rng: np.random.Generator) -> Points:
    """Return what two circles have in common: 2 tips and 24 vertices."""
    half = rng.uniform(0.7, 1.1)  # of the angle at which a tip sees the other circle
    arc = np.linspace(-half, half, 12, endpoint=False)
    side = np.stack([np.cos(arc) - np.cos(half), np.sin(arc)], axis=-1) / np.sin(half)
    return np.concatenate([side, -side])


def crescent(rng: np.random.Generator) -> Points:
    """Return a disc without what another covers of it: 36 vertices, concave."""
    radius, away = rng.uniform(0.75, 0.9), rng.uniform(0.5, 0.7)
    x = (1 - radius**2 + away**2) / (2 * away)  # where the circles meet
    outer, inner = np.arccos(x), np.arctan2(np.sqrt(1 - x**2), x - away)
    outside = _polar(1.0, np.linspace(outer, 2 * np.pi - outer, 22))
    inside = np.add(_polar(radius, np.linspace(2 * np.pi - inner, inner, 16)[1:-1]), [away, 0])
    return np.concatenate([outside, inside])


def tile(rng: np.random.Generator) -> Points:
    """Return a convex polygon of 4 to 7 vertices on a circle."""
    count = rng.integers(4, 8)
    return _polar(1.0, 2 * np.pi * (np.arange(count) + rng.uniform(-0.25, 0.25, count)) / count)


def wedge(rng: np.random.Generator) -> Points:
    """Return a triangle."""
    return _polar(1.0, 2 * np.pi * (np.arange(3) + rng.uniform(-0.15, 0.15, 3)) / 3)


def star(rng: np.random.Generator) -> Points:
    """Return a star of 4 to 6 points, concave."""
    count = rng.integers(4, 7)
    angle = np.pi * np.arange(2 * count) / count
    return _polar(np.where(np.arange(2 * count) % 2, rng.uniform(0.35, 0.5), 1.0), angle)


SHAPES: dict[str, Callable[[np.random.Generator], Points]] = {
    shape.__name__: shape for shape in (pebble, leaf, crescent, tile, wedge, star)
}


def draw_silhouette(rng: np.random.Generator, name: str) -> Points:
    """Return the vertices (N, 2) of a shape, stretched and turned; the farthest is 1 from the middle."""
    angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = SHAPES[name](rng) * [1, stretch]
    return points / np.linalg.norm(points, axis=1).max() @ turn.T


def _polar(radius: float | Points, angle: Points) -> Points:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
