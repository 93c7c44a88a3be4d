"""Inference of polygons: vertex by vertex with the decoder's state carried, by the most probable or a beam search."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.utils._pytree import tree_map_only

from scs_model.networks.outline import CELLS, GRID, NONE, Encoded, OutlineNetwork

CLOSED = CELLS  # the token after the cells'
TINY = 1e-12  # of a probability
CLOSES = 1 / 3  # less than a half: who goes on for too long goes round twice, which costs more than a vertex
Oversee = Callable[[int, Tensor], Tensor]


class Outlines(NamedTuple):
    """Polygons of B objects.

    Parameters
    ----------
    cells : Tensor of shape (n, B), int
        Each vertex's cell, `NONE` beyond a polygon's own.
    positions : Tensor of shape (n, B, 2)
        Where in and about its cell it most probably lies, x and y in cells.
    closed : Tensor of shape (B,), bool
        Whether the decoder closed the polygon, before there were too many vertices.
    """

    cells: Tensor
    positions: Tensor
    closed: Tensor


def find_outlines(
    network: OutlineNetwork, encoded: Encoded, *, max_vertices: int, beam: int = 1, oversee: Oversee | None = None
) -> Outlines:
    """Return the polygons that the network says, of at most ``max_vertices``.

    No vertex follows itself, and nothing is closed before its third. A cell's score is the probability of the vertex
    being there or about it (neighbours' count for a half and a quarter): where an outline is smooth, a vertex may be
    anywhere along it, and "closed" alone would have the highest probability long before there is an end. A search that
    keeps one polygon closes it where that has a probability of `CLOSES`.

    Parameters
    ----------
    network : OutlineNetwork
        In eval mode.
    encoded : Encoded
        Of B images.
    beam : int
        Polygons of each object that the search keeps, those with the highest logarithm of scores on average.
    oversee : callable, optional
        ``oversee(t, log_scores) -> log_scores`` of vertex t, (B · beam, 785): who corrects a vertex says so here.
    """
    B, K = len(encoded.features), beam
    features = encoded.features.repeat_interleave(K, 0)
    unable = encoded.first.new_full((B, 1), -torch.inf)
    log_p = torch.cat([encoded.first, unable], 1).repeat_interleave(K, 0)
    total = torch.zeros(B, K, device=log_p.device).index_fill_(1, torch.arange(1, K, device=log_p.device), -torch.inf)
    count = torch.zeros(B, K, device=log_p.device)
    open_ = torch.ones(B * K, dtype=torch.bool, device=log_p.device)
    rows = torch.arange(B, device=log_p.device)[:, None] * K
    cells = torch.empty(0, B * K, dtype=torch.long, device=log_p.device)
    positions = torch.empty(0, B * K, 2, device=log_p.device)
    states = None
    for t in range(max_vertices + 1):
        scores = _scores(log_p, one=K == 1)
        if oversee is not None:
            scores = oversee(t, scores)
        # What is closed stays so, at no cost.
        scores = torch.where(open_[:, None], scores, -torch.inf)
        scores[~open_, CLOSED] = 0.0
        sums = total[..., None] + scores.unflatten(0, (B, K))
        counts = count + open_.view(B, K)
        _, best = (sums / counts[..., None]).flatten(1).topk(K)
        parent, token = (rows + best // (CELLS + 1)).flatten(), (best % (CELLS + 1)).flatten()
        total, count = sums.flatten(1).gather(1, best), counts.flatten()[parent].view(B, K)
        here = _position(log_p[parent], scores[parent], token)
        cells, positions, open_ = cells[:, parent], positions[:, parent], open_[parent] & (token != CLOSED)
        if t == max_vertices or not open_.any():
            break
        cells = torch.cat([cells, torch.where(open_, token, NONE)[None]])
        positions = torch.cat([positions, here[None]])
        if K > 1:
            states = tree_map_only(Tensor, lambda state: state[parent], states)  # noqa: B023 - called at once
        last, before = cells[-1:], cells[-2:-1] if t else torch.full_like(cells[-1:], NONE)
        log_p, states = network.decode(features, cells[0], last, before, states)
        log_p = log_p[0].scatter(1, last.T.clamp(min=0), -torch.inf)
        if t < 2:
            log_p[:, CLOSED] = -torch.inf
    of_best = rows[:, 0] + total.div(count).argmax(1)
    return Outlines(cells[:, of_best], positions[:, of_best], ~open_[of_best])


def _scores(log_p: Tensor, *, one: bool) -> Tensor:
    """Return the logarithm of the score of each cell and of "closed" (rows, 785); see `find_outlines`."""
    cells, closed = log_p[:, :CELLS], log_p[:, CELLS:]
    # In shares of the highest: where that one was ruled out, all others may be too small for a float32.
    highest = cells.amax(1, keepdim=True).clamp(min=-1e30)
    kernel = cells.new_tensor([0.5, 1.0, 0.5])
    shares = (cells - highest).exp().view(-1, 1, GRID, GRID)
    around = conv2d(shares, kernel.outer(kernel)[None, None], padding=1).flatten(1).log() + highest
    around = around.where(log_p[:, :CELLS].isfinite(), -torch.inf)
    if one:
        around = (
            around
            - around.amax(1, keepdim=True).clamp(min=math.log(TINY))
            + torch.log1p(-closed.exp().clamp(max=1 - 1e-6))
            + math.log(CLOSES / (1 - CLOSES))
        )
    return torch.cat([around, closed], 1)


def _position(log_p: Tensor, scores: Tensor, cell: Tensor) -> Tensor:
    """Return the mean of the middles of a cell and its neighbours (rows, 2), by probability, but what is ruled out."""
    around = torch.arange(-1, 2, device=cell.device)
    y, x = (torch.stack([cell // GRID, cell % GRID])[..., None] + around).unbind(0)  # (rows, 3)
    inside = ((y >= 0) & (y < GRID))[:, :, None] & ((x >= 0) & (x < GRID))[:, None, :]
    index = y.clamp(0, GRID - 1)[:, :, None] * GRID + x.clamp(0, GRID - 1)[:, None, :]
    p = torch.where(scores.isfinite(), log_p.exp().double() + TINY, 0.0).gather(1, index.flatten(1))
    p = p.view_as(index) * inside
    p = p / p.sum((1, 2), keepdim=True).clamp(min=TINY)
    return torch.stack([(p.sum(1) * (x + 0.5)).sum(1), (p.sum(2) * (y + 0.5)).sum(1)], -1).float()
