"""Who corrects a polygon, simulated: the first vertex that is off is put right, and the network goes on from there."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.outline.annotator import Annotator
from pipelines.outline.grid_polygon import cells_of
from scs_model.networks.outline import CELLS, GRID, Encoded


class Corrected(NamedTuple):
    """What came out for one object.

    Parameters
    ----------
    points : ndarray of shape (n, 2)
        The polygon in pixels of the crop.
    clicks : int
        Vertices that were put right, and one if the polygon had to be closed.
    """

    points: NDArray[np.float64]
    clicks: int


class Corrector:
    """Oversees a search (`scs_model.networks.outline_search`), one row an object.

    The first vertex may be any of the true ones; the true polygon is followed from the nearest. A vertex is off if it
    is more than T cells, the larger of rows and columns, from the true one whose turn it is, or if the polygon is
    closed before; then it is put where the true one is. After the last true one it is closed.

    Parameters
    ----------
    truths : sequence of ndarray of shape (n, 2)
        True vertices in cells, `pipelines.outline.grid_polygon`'s.
    threshold : int
        T.

    Attributes
    ----------
    clicks : list of int
        Corrections of each object.

    References
    ----------
    Castrejón et al. 2017, arXiv 1704.05548, section 3.4.
    """

    def __init__(self, truths: Sequence[NDArray[np.floating]], threshold: int) -> None:
        self.cells = [cells_of(np.asarray(vertices, np.float64)) for vertices in truths]
        self.threshold, self.clicks = threshold, [0] * len(truths)

    def __call__(self, t: int, log_scores: Tensor) -> Tensor:
        """Return scores of vertex t in which those that are off are certain to be the true ones."""
        said = log_scores.argmax(1).tolist()
        out = log_scores.clone()
        for i, cell in enumerate(said):
            if t == 0:
                nearest = int(np.argmin([_distance(cell, true) for true in self.cells[i]]))
                self.cells[i] = np.roll(self.cells[i], -nearest)
            wanted = int(self.cells[i][t]) if t < len(self.cells[i]) else CELLS
            is_right = cell == wanted or (CELLS not in (cell, wanted) and _distance(cell, wanted) <= self.threshold)
            if t <= len(self.cells[i]) and not is_right:
                self.clicks[i] += 1
                out[i] = -torch.inf
                out[i, wanted] = 0.0
        return out


def correct(
    annotator: Annotator, encoded: Encoded, truths: Sequence[NDArray[np.floating]], threshold: int
) -> list[Corrected]:
    """Return the corrected polygon of each encoded crop, whose true vertices in cells are ``truths``."""
    corrector = Corrector(truths, threshold)
    outlines = annotator.search(encoded, oversee=corrector)
    return [Corrected(one.points, clicks) for one, clicks in zip(outlines, corrector.clicks, strict=True)]


def _distance(one: int, other: int) -> int:
    """Return the larger of rows and columns from one cell to another."""
    return max(abs(one // GRID - int(other) // GRID), abs(one % GRID - int(other) % GRID))
