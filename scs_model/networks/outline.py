"""The outline network: an image of one object in, its polygon out, vertex by vertex, on a grid of 28 × 28 cells."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, log_softmax, max_pool2d

from scs_model.layers.convgru import ConvGRU
from scs_model.layers.convlstm import ConvLSTM
from scs_model.layers.scs import SCS
from scs_model.layers.sequence import to_frames
from scs_model.layers.stack import Stack
from scs_model.networks.residual_encoder import SCALES, ResidualEncoder

GRID = 28  # rows and columns of the cells in which vertices lie
CELL = 8  # pixels of the image that a cell is wide
CELLS = GRID * GRID  # also the class "closed", after those of the cells
NONE = -1  # a vertex that there isn't
LAYERS: dict[str, Any] = {"scs": SCS, "convlstm": ConvLSTM, "convgru": ConvGRU}


class Encoded(NamedTuple):
    """What the encoder says of an image.

    Parameters
    ----------
    features : Tensor of shape (B, F + 3, 28, 28)
        For the decoder: the last three are the probabilities of mask, edges and vertices.
    mask, edges, vertices : Tensor of shape (B, 28, 28)
        Logits of a cell being in the object, on its outline, a vertex.
    first : Tensor of shape (B, 784)
        Log-probabilities of the first vertex's cell.
    """

    features: Tensor
    mask: Tensor
    edges: Tensor
    vertices: Tensor
    first: Tensor


class OutlineStreams(NamedTuple):
    """What the decoder says at each vertex, with its subtasks.

    Parameters
    ----------
    main : Tensor of shape (T, B, 785)
        Log-probabilities of the next vertex's cell, and last of the polygon being closed.
    spatial : Tensor of shape (T, B, 2, 784)
        T¹: log-probabilities of where an edge is, and where a vertex, from the spatial stream.
    motion : Tensor of shape (T, B, 2)
        T²: the step x, y to the next vertex, in root mean squares of a batch's steps.
    """

    main: Tensor
    spatial: Tensor
    motion: Tensor


class OutlineNetwork(nn.Module):
    """Encoder with skip connections, heads for mask, edges, vertices and the first vertex, and a recurrent decoder.

    The decoder's input at each vertex is the features, where the heads say that mask, edges and vertices are, and three
    maps, 1 / (1 + distance in cells) from the first vertex, from the last and from the one before: so every cell knows
    of them, however few layers there are. Cells are numbered row by row.

    Parameters
    ----------
    cell : {"scs", "convlstm", "convgru"}
        The decoder's layers; SCS is of the outline form.
    depth, channels : int
        Layers of the decoder, and channels of each.
    features : int
        F: channels of the encoder's features.
    width, blocks, bottleneck
        Of the encoder; see `scs_model.networks.residual_encoder`.
    subtasks : bool
        Whether to have heads for T¹ and T².
    residual : bool
        Whether the decoder has residual lines; the authors' code has none.

    Attributes
    ----------
    switch_layers : int
        Layers whose paths can be switched: the L of ``open_paths``.

    Raises
    ------
    ValueError
        If no network can be built from these.

    References
    ----------
    Castrejón et al. 2017, arXiv 1704.05548, with maps of distances in place of one-hot ones, and a convolution that
    scores each cell by itself in place of the fully connected layer. Pang et al. 2020, arXiv 2006.00212.
    """

    def __init__(
        self,
        cell: str,
        depth: int,
        channels: int,
        features: int,
        width: int,
        blocks: Sequence[int] = (1, 1, 1, 1),
        bottleneck: bool = False,
        subtasks: bool = False,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if cell not in LAYERS:
            raise ValueError(f"cell {cell!r} is none of {', '.join(LAYERS)}")
        if min(depth, channels, features) < 1:
            raise ValueError(f"depth, channels and features are 1 or more; got {depth}, {channels} and {features}")
        if subtasks and cell != "scs":
            raise ValueError(f"only SCS layers have the subtasks' streams, and {cell} is none: set no subtasks")
        self.encoder = ResidualEncoder(width, blocks, bottleneck)
        self.skips = nn.ModuleList(nn.Conv2d(count, features, 1, bias=False) for count in self.encoder.channels)
        self.merge = nn.Sequential(
            *(nn.BatchNorm2d(features), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1, bias=False)),
            *(nn.BatchNorm2d(features), nn.ReLU()),
        )
        self.mask_head = nn.Conv2d(features, 1, 3, padding=1)
        self.edge_head = nn.Conv2d(features, 1, 3, padding=1)
        self.vertex_head = nn.Conv2d(features + 1, 1, 3, padding=1)
        self.first_head = nn.Conv2d(features + 2, 1, 3, padding=1)
        inputs = features + 3 + 3  # with the heads' maps and the vertices'
        self.decoder = Stack(
            (LAYERS[cell](channels if index else inputs, channels) for index in range(depth)), residual=residual
        )
        self.cell_head, self.closed_head = nn.Conv2d(channels, 1, 1), nn.Linear(channels, 1)
        self.t1_head = nn.Conv2d(channels, 2, 1) if subtasks else None
        self.t2_head = nn.Linear(channels, 2) if subtasks else None
        self.switch_layers = depth if self.decoder.is_scs else 0
        self.nearness: Tensor
        self.register_buffer("nearness", _nearness(), persistent=False)

    def forward(self, images: Tensor, first: Tensor, last: Tensor, before: Tensor, **how: Any) -> tuple[Encoded, Any]:
        """Return what the encoder says of images, and the decoder after each vertex: `encode`, `decode`."""
        encoded = self.encode(images)
        return encoded, self.decode(encoded.features, first, last, before, **how)[0]

    def encode(self, images: Tensor) -> Encoded:
        """Return what the encoder says of images (B, 3, 224, 224), normalised."""
        if images.shape[1:] != (3, GRID * CELL, GRID * CELL):
            raise ValueError(f"images are (B, 3, {GRID * CELL}, {GRID * CELL}); got {tuple(images.shape)}")
        of_scales = []
        for scale, skip, z in zip(SCALES, self.skips, self.encoder(images), strict=True):
            z = skip(z)
            of_scales.append(
                max_pool2d(z, CELL // scale) if scale <= CELL else interpolate(z, (GRID, GRID), mode="bilinear")
            )
        features = self.merge(torch.stack(of_scales).sum(0))
        edges = self.edge_head(features)
        vertices = self.vertex_head(torch.cat([features, edges], 1))
        first = self.first_head(torch.cat([features, edges, vertices], 1))
        maps = torch.cat([self.mask_head(features), edges, vertices], 1)
        seen = torch.cat([features, maps.detach().sigmoid()], 1)
        return Encoded(seen, maps[:, 0], maps[:, 1], maps[:, 2], _log_softmax(first.flatten(1)))

    def decode(
        self,
        features: Tensor,
        first: Tensor,
        last: Tensor,
        before: Tensor,
        states: Sequence[Any] | None = None,
        *,
        open_paths: Tensor | None = None,
        with_subtasks: bool = False,
    ) -> tuple[Any, list[Any]]:
        """Return after each vertex which one comes next.

        Parameters
        ----------
        features : Tensor of shape (B, F + 3, 28, 28)
            Of `encode`.
        first : Tensor of shape (B,), int
            The first vertex's cell.
        last, before : Tensor of shape (T, B), int
            Cells of the last vertex and of the one before it, `NONE` where there is none.
        states : list of L states, or None
            What the vertices before ended with; None is zero.
        open_paths : Tensor of shape (switch_layers, T, 2), bool, or None
            Paths open to the gradient (`scs_model.stsgd.switch`); None opens all.
        with_subtasks : bool
            Whether to give `OutlineStreams`, or the main stream alone and at its cost.

        Returns
        -------
        Tensor of shape (T, B, 785), or OutlineStreams
        states : list of L states

        Raises
        ------
        ValueError
            If there are draws and no SCS layers, or subtasks are asked for that the network was built without.
        """
        if with_subtasks and (self.t1_head is None or self.t2_head is None):
            raise ValueError("the network was built without subtasks")
        maps = self.nearness[torch.stack([first.expand_as(last), last, before], 2)].to(features.dtype)
        x = torch.cat([features.expand(len(last), *features.shape), maps], 2)
        h, after = self.decoder(x, states, open_paths)
        frames = to_frames(h)
        closed = self.closed_head(frames.amax((-2, -1)))
        main = _log_softmax(torch.cat([self.cell_head(frames).flatten(1), closed], 1)).unflatten(0, last.shape)
        if not with_subtasks:
            return main, after
        spatial = self.t1_head(to_frames(self.decoder.spatial_stream(x))).flatten(2)  # type: ignore[misc]
        motion, _ = self.decoder.temporal_stream(x)
        at_last = motion.flatten(3).gather(3, last[:, :, None, None].clamp(min=0).expand(-1, -1, motion.shape[2], 1))
        step = self.t2_head(at_last[..., 0])  # type: ignore[misc]
        return OutlineStreams(main, _log_softmax(spatial).unflatten(0, last.shape), step), after


def _nearness() -> Tensor:
    """Return 1 / (1 + distance) of every cell from each one (785, 28, 28), and last zero: from none."""
    y, x = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    places = torch.stack([y, x], -1).flatten(0, 1).float()
    near = 1 / (1 + torch.cdist(places, places))
    return torch.cat([near, torch.zeros(1, CELLS)]).unflatten(1, (GRID, GRID))


def _log_softmax(scores: Tensor) -> Tensor:
    """Return log-probabilities in float32 under autocast as well."""
    return log_softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), dim=-1)
