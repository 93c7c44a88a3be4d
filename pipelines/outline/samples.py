"""Crops with their polygons as training samples, and batches of them."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from pipelines.common.errors import UserError
from pipelines.images.crops import Crops
from pipelines.outline.grid_polygon import to_grid
from scs_model.networks.outline import CELL, GRID

SIZE = GRID * CELL
SCALED, SHIFTED = 0.15, 0.05  # how far a sample's crop may be from the box's, of its size


class Sample(NamedTuple):
    """A crop, its polygon on the grid, and the cells that are in it and on its outline.

    ========  =======  ==========  ================================
    image     uint8    (3, H, W)   RGB
    vertices  float32  (n, 2)      x, y in cells, clockwise
    mask      bool     (28, 28)    cells whose middle is inside
    edges     bool     (28, 28)    cells through which it goes
    ========  =======  ==========  ================================
    """

    image: Tensor
    vertices: Tensor
    mask: Tensor
    edges: Tensor


class Batch(NamedTuple):
    """Samples together: their ``vertices`` (B, N, 2) are NaN beyond each one's own."""

    image: Tensor
    vertices: Tensor
    mask: Tensor
    edges: Tensor


def collate(samples: Sequence[Sample]) -> Batch:
    """Make a batch."""
    image, vertices, mask, edges = zip(*samples, strict=True)
    padded = pad_sequence(list(vertices), batch_first=True, padding_value=torch.nan)
    return Batch(torch.stack(image), padded, torch.stack(mask), torch.stack(edges))


class OutlineSamples(Dataset[Sample]):
    """The crops of one split of which 3 vertices or more are left on the grid.

    Sample ``n`` is crop ``n % len``. Of the train split it is scaled, shifted and mirrored, its colours change a
    little, and any vertex is the first: all drawn, a function of (seed, n) alone.

    Parameters
    ----------
    crops : Crops
    split : str
        train, validation or test.
    max_vertices : int
        Of a simplified polygon.
    seed : int
        Of the draws.

    Raises
    ------
    UserError
        If the split has none.
    """

    def __init__(self, crops: Crops, split: str, max_vertices: int, *, seed: int) -> None:
        self.crops, self.split, self.max_vertices, self.seed = crops, split, max_vertices, seed
        numbers = crops.table.index[crops.table["split"] == split]
        self.numbers = [int(i) for i in numbers if len(to_grid(crops.polygon(i), max_vertices)) >= 3]
        if not self.numbers:
            raise UserError(f"{crops.path}: no crop of the split {split!r} whose polygon has 3 cells or more")

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, n: int) -> Sample:
        i = self.numbers[n % len(self)]
        image, polygon = self.crops.image(i), self.crops.polygon(i)
        vertices = to_grid(polygon, self.max_vertices)
        if self.split == "train":
            rng = np.random.default_rng((self.seed, n))
            varied = _vary(image, polygon, rng)
            of_varied = to_grid(varied[1], self.max_vertices)
            if len(of_varied) >= 3:
                (image, polygon), vertices = varied, of_varied
            vertices = np.roll(vertices, int(rng.integers(len(vertices))), axis=0)
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        mask, edges = (torch.from_numpy(cells) for cells in rasterise(polygon))
        return Sample(pixels, torch.from_numpy(vertices.astype(np.float32)), mask, edges)


def rasterise(polygon: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which cells of the grid a polygon in pixels covers by half or more, and through which its line goes."""
    filled = np.zeros((SIZE, SIZE), np.uint8)
    points = np.round(polygon - 0.5).astype(np.int32)[:, None]
    cv2.fillPoly(filled, [points], 255)
    mask = cv2.resize(filled, (GRID, GRID), interpolation=cv2.INTER_AREA) >= 128
    line = np.zeros_like(filled)
    cv2.polylines(line, [points], True, 255)
    return mask, line.reshape(GRID, CELL, GRID, CELL).max((1, 3)) > 0


def _vary(
    image: NDArray[np.uint8], polygon: NDArray[np.floating], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.floating]]:
    """Return a crop and its polygon scaled, shifted and mirrored, and its colours changed, as a photo could be."""
    scale = 1 + SCALED * rng.uniform(-1, 1)
    across = scale * (-1 if rng.integers(2) else 1)
    shift = SIZE * (0.5 + SHIFTED * rng.uniform(-1, 1, 2)) - SIZE / 2 * np.array([across, scale])
    # Of coordinates whose whole numbers are pixels' edges; OpenCV's are pixels' middles.
    for_opencv = np.array([[across, 0, shift[0] + (across - 1) / 2], [0, scale, shift[1] + (scale - 1) / 2]])
    varied = cv2.warpAffine(image, for_opencv, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gain, offset = rng.uniform(0.8, 1.2, 3) * rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    coloured = np.clip(varied * gain.astype(np.float32) + np.float32(offset), 0, 255).astype(np.uint8)
    return coloured, polygon * [across, scale] + shift
