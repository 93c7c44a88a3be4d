"""STSGD: which gradients are stopped on their way into a layer's input, and the draw that says so."""

from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

KINDS = ("off", "one_sided", "two_sided")


def check_switch(kind: str, p: float) -> None:
    """Refuse a switch that there isn't; raises ValueError if the kind is unknown or p is no probability."""
    if kind not in KINDS:
        raise ValueError(f"switch kind {kind!r} is none of {', '.join(KINDS)}")
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"the switch's p is a probability, and {p} is none")


def draw_open_paths(kind: str, p: float, *, seed: int, step: int, rank: int, layers: int, steps: int) -> Tensor:
    """Draw which paths are open to the gradient into x_t, at each layer and time step, for the whole batch.

    Two-sided, with r1, r2 ~ U(0, 1): the temporal path is stopped if r1 < p, the spatial path if r2 < 1 - p, and
    if both would be, the temporal one is reopened when p < 0.5, else the spatial one. One-sided: the temporal path
    alone, if r1 < p. The draw at (layer, t) depends on (seed, step, rank, layer, t) and nothing else, so that a
    resumed run draws what the uninterrupted one would have, and a longer clip what the shorter one did.

    Parameters
    ----------
    kind : {"off", "one_sided", "two_sided"}
    p : float
        Stop probability of the temporal path.
    seed, step, rank : int
        The run's seed, the optimiser's step and the process's rank.
    layers, steps : int
        L layers and T time steps.

    Returns
    -------
    Tensor of shape (L, T, 2), bool
        True where a path is open: the spatial one at index 0, the temporal one at 1. It lies in host memory, which
        is where the layers want it.

    Raises
    ------
    ValueError
        If the kind is unknown or p is no probability.

    References
    ----------
    Pang et al. 2020, Nature Machine Intelligence, arXiv 2006.00212.
    """
    check_switch(kind, p)
    if kind == "off" or layers == 0:
        return torch.ones(layers, steps, 2, dtype=torch.bool)
    r = torch.stack([_uniform(seed, step, rank, layer, steps) for layer in range(layers)])
    temporal = r[..., 0] >= p
    if kind == "one_sided":
        return torch.stack([torch.ones_like(temporal), temporal], dim=-1)
    spatial = r[..., 1] >= 1.0 - p
    neither = ~(spatial | temporal)
    if p < 0.5:
        temporal = temporal | neither
    else:
        spatial = spatial | neither
    return torch.stack([spatial, temporal], dim=-1)


def _uniform(seed: int, step: int, rank: int, layer: int, steps: int) -> Tensor:
    """U(0, 1) of shape (steps, 2); the first values don't depend on how many are drawn."""
    digest = blake2b(f"{seed},{step},{rank},{layer}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
    return torch.rand(steps, 2, generator=generator, dtype=torch.float64)


class _StopGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, is_open: Tensor) -> Tensor:
        ctx.save_for_backward(is_open)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (is_open,) = ctx.saved_tensors
        return grad * is_open.view(-1, *(1,) * (grad.ndim - 1)), None


def stop_gradient(x: Tensor, is_open: Tensor) -> Tensor:
    """Return ``x`` (T, ...) as it is; its gradient goes back only at the times where ``is_open`` (T,) is true."""
    return _StopGradient.apply(x, is_open.to(x.device))
