"""The training step of an outline network, for every cell the same."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div

from pipelines.outline.annotator import to_input
from pipelines.outline.samples import Batch
from pipelines.params.outline import OutlineModel, TrainOutline
from pipelines.training.ddp import check_loss, mean_over_ranks
from pipelines.training.switching import SwitchedTraining
from scs_model.networks.outline import CELLS, GRID, NONE, OutlineNetwork
from scs_model.stsgd.subtasks import normalised_error

SMOOTHING = 0.6  # cells: standard deviation of the target around a vertex


class Targets(NamedTuple):
    """What the decoder is given of a batch's polygons, and what it should say.

    Parameters
    ----------
    first : Tensor of shape (B,)
    last, before : Tensor of shape (N, B)
        See `scs_model.networks.outline.OutlineNetwork.decode`.
    following : Tensor of shape (N, B, 785)
        Probability of each cell being the next vertex's, and last of "closed".
    vertices : Tensor of shape (B, 784)
        Probability of each cell being a vertex's, of all the polygon's.
    step : Tensor of shape (N, B, 2)
        To the next vertex, x and y, in widths of the grid.
    known : Tensor of shape (N, B), bool
        Where there is a vertex.
    """

    first: Tensor
    last: Tensor
    before: Tensor
    following: Tensor
    vertices: Tensor
    step: Tensor
    known: Tensor


def spread(vertices: Tensor) -> Tensor:
    """Return probabilities (..., 784) of the cells around vertices (..., 2), x and y in cells: a Gaussian of each.

    It is about the vertex and not its cell's middle, so that where in the cell it lies can be read from it.
    """
    middles = torch.arange(GRID, device=vertices.device) + 0.5
    x, y = (-(vertices[..., None] - middles).square() / (2 * SMOOTHING**2)).softmax(-1).unbind(-2)
    return (y[..., :, None] * x[..., None, :]).flatten(-2)


def targets_of(vertices: Tensor) -> Targets:
    """Return what follows from vertices (B, N, 2) in cells, NaN beyond each polygon's own."""
    of_step = vertices.transpose(0, 1)
    known = of_step.isfinite().all(-1)
    count = known.sum(0)
    column, row = of_step.nan_to_num().floor().long().clamp(0, GRID - 1).unbind(-1)
    cell = torch.where(known, row * GRID + column, NONE)
    before = cell.roll(1, 0)
    before[0] = NONE
    is_end = torch.arange(len(cell), device=cell.device)[:, None] == count - 1
    next_vertex = torch.where(is_end[..., None], of_step[:1], of_step.roll(-1, 0)).nan_to_num()
    around = spread(of_step.nan_to_num()) * known[..., None]
    following = torch.cat([spread(next_vertex) * ~is_end[..., None], is_end[..., None].float()], -1)
    step = (next_vertex - of_step.nan_to_num()) / GRID
    return Targets(cell[0], cell, before, following, around.sum(0) / count[:, None], step, known)


def divergence(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """Return the Kullback–Leibler divergence from the target, in nats, over the last dimension."""
    return kl_div(log_probabilities, target, reduction="none").sum(-1)


class OutlineTraining(SwitchedTraining):
    """Trains a network on batches of `pipelines.outline.samples`.

    L + heads + w1·L_T1 + w2·L_T2. L is the divergence of the next vertex's probabilities from the smoothed target,
    averaged over all vertices, the true ones before given (teacher forcing). T¹ says from the spatial stream where
    edges and vertices are, and its loss is a divergence too, so that ASTSGD can compare the two. T² regresses the step
    to the next vertex. The heads' losses are of mask, edges, vertices and the first vertex.

    Parameters
    ----------
    network : OutlineNetwork
    model : OutlineModel
        Its switch and subtasks.
    params : TrainOutline
    """

    def __init__(self, network: OutlineNetwork, model: OutlineModel, params: TrainOutline) -> None:
        super().__init__(model.switch, learning_rate=params.learning_rate, seed=params.seed)
        self.network, self.model = network, model
        self.sums = torch.zeros(3)  # of validation: two losses and the samples
        self.curve: list[dict[str, float]] = []  # losses at each validation

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Loss of one batch, with the gradients of this step's draw."""
        losses = self._losses(batch, self.draw_open_paths(batch.vertices.shape[1]), with_subtasks=True)
        loss = losses["train_loss"] + losses["heads_loss"]
        if self.model.subtasks:
            loss = loss + self.model.subtasks.t1 * losses["t1_loss"] + self.model.subtasks.t2 * losses["t2_loss"]
        check_loss(loss, self.global_step)
        if self.adaptive:
            self.log("switch_p", self.adaptive.update(losses["train_loss"], losses["t1_loss"]))
        self.log("train_loss", losses.pop("train_loss"), prog_bar=True, sync_dist=True)
        self.log_dict(losses, sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Score one batch; nothing is drawn."""
        losses = self._losses(batch, None, with_subtasks=False)
        both = torch.stack([losses["train_loss"] + losses["heads_loss"], losses["train_loss"]]).double()
        size = len(batch.image)
        self.sums = self.sums + torch.cat([size * both, both.new_tensor([size])])

    def on_validation_epoch_start(self) -> None:
        """Begin anew."""
        self.sums = torch.zeros(3, dtype=torch.float64, device=self.device)

    def on_validation_epoch_end(self) -> None:
        """Log the losses of all batches together, and add a point to the curve."""
        *sums, count = mean_over_ranks(self.sums)
        of_now = {"validation_loss": sums[0] / count, "validation_next_loss": sums[1] / count}
        self.log_dict(of_now, prog_bar=True)
        self.curve.append({"step": self.global_step, **{name: float(loss) for name, loss in of_now.items()}})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the curve."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["curve"] = self.curve

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it."""
        super().on_load_checkpoint(checkpoint)
        self.curve = checkpoint["curve"]

    def _losses(self, batch: Batch, open_paths: Tensor | None, *, with_subtasks: bool) -> dict[str, Tensor]:
        with_subtasks = with_subtasks and self.model.subtasks is not None
        targets = targets_of(batch.vertices)
        encoded, output = self.network(
            to_input(batch.image),
            *(targets.first, targets.last, targets.before),
            open_paths=open_paths,
            with_subtasks=with_subtasks,
        )
        main, known = output.main if with_subtasks else output, targets.known
        losses = {"train_loss": divergence(main, targets.following)[known].mean()}
        vertices = batch.edges.new_zeros(len(batch.edges), CELLS + 1).scatter_(
            1, targets.last.T % (CELLS + 1), torch.ones_like(targets.last.T, dtype=torch.bool)
        )[:, :CELLS]
        asked = (encoded.mask, batch.mask), (encoded.edges, batch.edges), (encoded.vertices, vertices)
        of_maps = [
            binary_cross_entropy_with_logits(said.flatten(1).float(), is_so.flatten(1).float()) for said, is_so in asked
        ]
        losses["heads_loss"] = torch.stack(of_maps).sum() + divergence(encoded.first, targets.vertices).mean()
        if with_subtasks:
            edges = batch.edges.flatten(1).float()
            where = torch.stack([edges / edges.sum(1, keepdim=True), targets.vertices], 1)
            losses["t1_loss"] = divergence(output.spatial, where)[known].mean()
            losses["t2_loss"] = normalised_error(output.motion[known], targets.step[known])
        return losses
