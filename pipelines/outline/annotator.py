"""A trained network as an annotator: a crop of an object in, its polygon out, which may be corrected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d

from pipelines.common.errors import UserError
from pipelines.images.crop_box import CropBox, crop_box
from pipelines.outline.grid_polygon import cells_of, to_pixels
from pipelines.outline.scores import iou, mask_of, to_mask
from pipelines.params.base import ModelName, Positive, Section
from pipelines.training.model_folder import Description, Layers, load_network
from scs_model.networks.outline import CELL, CELLS, GRID, NONE, Encoded, OutlineNetwork
from scs_model.networks.outline_search import Outlines, Oversee, find_outlines

STARTS = 4  # first vertices from which polygons are tried
Fixes = Mapping[int, tuple[float, float]]  # number of a vertex, and x and y of where it is


class Network(Section):
    """Arguments of `scs_model.networks.outline.OutlineNetwork`, which says what they may be."""

    cell: str
    depth: Layers
    channels: int
    features: int
    width: int
    blocks: list[Layers]
    bottleneck: bool = False
    subtasks: bool = False
    residual: bool = True


class OutlineDescription(Description):
    """What one has to know of a network to outline objects with it.

    Parameters
    ----------
    method : {"outline"}
    name : str
        Of the model.
    network : Network
        How it is built.
    classes : list of str
        Kinds of objects that it was trained on.
    max_vertices : int
        Of a polygon.
    """

    method: Literal["outline"]
    name: ModelName
    network: Network
    classes: list[str]
    max_vertices: Positive


@dataclass(frozen=True)
class Outline:
    """One object's polygon.

    Parameters
    ----------
    points : ndarray of shape (n, 2)
        x and y of its vertices in pixels, of the crop or of the image, clockwise; none of what can't be seen.
    closed : bool
        Whether the network closed it, before there were too many vertices.
    """

    points: NDArray[np.float64]
    closed: bool


def to_input(images: Tensor) -> Tensor:
    """Turn uint8 pixels, of any shape, into what the network wants: about zero mean and unit variance."""
    return (images.float() - 127.5) / 64.0


@dataclass(frozen=True)
class Annotator:
    """A network and what it was trained on.

    Parameters
    ----------
    network : OutlineNetwork
        In eval mode.
    description : OutlineDescription
    """

    network: OutlineNetwork
    description: OutlineDescription

    @torch.inference_mode()
    def encode(self, crops: NDArray[np.uint8]) -> Encoded:
        """Return what the encoder says of crops (B, 224, 224, 3)."""
        device = next(self.network.parameters()).device
        return self.network.encode(to_input(torch.tensor(crops, device=device).permute(0, 3, 1, 2)))

    @torch.inference_mode()
    def search(self, encoded: Encoded, *, beam: int = 1, oversee: Oversee | None = None) -> list[Outline]:
        """Return the polygon of each encoded crop, in its pixels; see `scs_model.networks.outline_search`."""
        vertices = self.description.max_vertices
        return _outlines(find_outlines(self.network, encoded, max_vertices=vertices, beam=beam, oversee=oversee))

    @torch.inference_mode()
    def propose(self, encoded: Encoded, *, beam: int = 1) -> tuple[Encoded, list[Outline]]:
        """Return the polygon of each encoded crop, and the crops with its first vertex certain, to go on from.

        The search begins at the `STARTS` most probable first vertices that are apart; of the polygons the one is taken
        that agrees best with the network's own mask. A polygon that goes astray does so from one start, not from all.
        """
        B, (K, rows) = len(encoded.first), (STARTS, torch.arange(len(encoded.first), device=encoded.first.device))
        grid = encoded.first.view(B, 1, GRID, GRID)
        peaks = grid.where(grid == max_pool2d(grid, 5, 1, 2), -torch.inf).flatten(1)
        starts = peaks.topk(K, 1).indices.flatten()
        repeated = Encoded(*(part.repeat_interleave(K, 0) for part in encoded))
        certain = repeated._replace(first=torch.full_like(repeated.first, -torch.inf).scatter(1, starts[:, None], 0.0))
        outlines = self.search(certain, beam=beam)
        masks = [mask_of(logits) for logits in encoded.mask.float().cpu().numpy()]
        agreement = torch.tensor([iou(to_mask(one.points), masks[i // K]) for i, one in enumerate(outlines)])
        best = rows * K + agreement.view(B, K).argmax(1).to(rows.device)
        return Encoded(*(part[best] for part in certain)), [outlines[i] for i in best.tolist()]

    def annotate(
        self, image: NDArray[np.uint8], boxes: Sequence[Sequence[float]], *, fixes: Fixes | None = None, beam: int = 1
    ) -> list[Outline]:
        """Return the polygon in each box, in pixels of the image.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), uint8
            Red, green, blue.
        boxes : sequence of (x0, y0, x1, y1)
            In pixels of the image.
        fixes : mapping of int to (x, y), optional
            Where vertices are, by their number from 0; the others follow from them. For a single box.
        beam : int
            Polygons that the search keeps.

        Raises
        ------
        UserError
            If the image is none, a box can't be used, or a fix can't be.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UserError(f"an image is uint8 (H, W, 3), red, green, blue; got {image.dtype} {image.shape}")
        if fixes and len(boxes) != 1:
            raise UserError(f"vertices can be fixed in one box, and there are {len(boxes)}")
        squares = [crop_box(box, (image.shape[0], image.shape[1])) for box in boxes]
        fixed = {} if fixes is None else {number: squares[0].to_crop(point) for number, point in fixes.items()}
        if beyond := [n for n, (x, y) in fixed.items() if not (0 <= x < GRID * CELL and 0 <= y < GRID * CELL)]:
            raise UserError(f"vertex {beyond[0]} is fixed outside of what the network sees around the box")
        found = []
        for square in squares:
            settled, (outline,) = self.propose(self.encode(square.cut(image)[None]), beam=beam)
            if fixed:
                (outline,) = self.search(settled, beam=beam, oversee=_fix(fixed))
            if wrong := [number for number in fixed if not 0 <= number < len(outline.points)]:
                raise UserError(f"vertex {wrong[0]} can't be fixed: the polygon has {len(outline.points)}, from 0")
            for number, point in fixed.items():
                outline.points[number] = point
            found.append(_in_image(outline, square, image.shape[:2]))
        return found


def _fix(fixed: Mapping[int, NDArray[np.float64]]) -> Oversee:
    """Return who says where the fixed vertices are, and that nothing is closed before the last of them."""
    cells = {number: int(cells_of(point[None] / CELL)[0]) for number, point in fixed.items()}

    def oversee(t: int, log_scores: Tensor) -> Tensor:
        log_p = log_scores
        if t in cells:
            return torch.full_like(log_p, -torch.inf).index_fill_(1, torch.tensor([cells[t]], device=log_p.device), 0.0)
        if t < max(cells):
            log_p = log_p.index_fill(1, torch.tensor([CELLS], device=log_p.device), -torch.inf)
        return log_p

    return oversee


def _outlines(found: Outlines) -> list[Outline]:
    """Return each object's own vertices, in pixels of the crop."""
    counts = (found.cells != NONE).sum(0).tolist()
    points = to_pixels(found.positions.cpu().numpy())
    return [Outline(points[:count, i], bool(found.closed[i])) for i, count in enumerate(counts)]


def _in_image(outline: Outline, square: CropBox, shape: tuple[int, ...]) -> Outline:
    """Return an outline of a crop in pixels of its image, within it."""
    return Outline(np.clip(square.to_image(outline.points), 0, [shape[1], shape[0]]), outline.closed)


def load_annotator(folder: Path) -> Annotator:
    """Build the annotator in ``folder`` from ``model.json`` and ``weights.safetensors``.

    Raises
    ------
    UserError
        If the folder holds none, or its weights don't fit.
    """
    description = OutlineDescription.read(folder)
    arguments: dict[str, Any] = description.network.model_dump()
    network = load_network(folder, lambda: OutlineNetwork(**arguments))
    return Annotator(network.eval(), description)
