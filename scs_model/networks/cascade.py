"""A frame's cascade of scales, and forecasts that are weighted sums of it.

The levels of a cascade add up to the frame; each holds what is of one scale, from pixels to 32 of them. Small scales of
rain live for minutes and large ones for hours, so a forecast gives each level a weight of its own, as S-PROG does
(Seed 2003, doi:10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2). Weights of the frame before the newest are what a
trend adds, and weights that differ from place to place are what a network adds.
"""

from collections.abc import Iterable
from itertools import pairwise
from math import log2

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

LEVELS = 6  # scales of 1, 2, 4, 8, 16 and 32 pixels
COARSEST = 2 ** (LEVELS - 1)  # pixels: rows and columns must be divisible by it
FRAMES = 2  # the newest ones; a third adds nothing to a regression
WEIGHTS = FRAMES * LEVELS + 1  # the last one is a constant


def cascade(frames: Tensor, downsample: int) -> tuple[Tensor, Tensor]:
    """Take frames apart into levels, those finer than a cell on the pixels and the others on the cells.

    Parameters
    ----------
    frames : Tensor of shape (B, F, H, W)
        H and W divisible by `COARSEST`.
    downsample : int
        Pixels to a cell, each way: a power of 2 below `COARSEST`.

    Returns
    -------
    fine : Tensor of shape (B, F · log2(downsample), H, W)
        The finest level first, the frames of each in their order.
    coarse : Tensor of shape (B, F · (LEVELS - log2(downsample)), H / downsample, W / downsample)
        What the fine levels leave, averaged over cells.
    """
    means = [frames]
    for _ in range(LEVELS - 1):
        means.append(avg_pool2d(means[-1], 2))
    levels = [mean - double(coarser) for mean, coarser in pairwise(means)] + means[-1:]
    finest = round(log2(downsample))
    fine = [double(level, number) for number, level in enumerate(levels[:finest])]
    coarse = [double(level, number) for number, level in enumerate(levels[finest:])]
    return torch.cat([frames[:, :0], *fine], 1), torch.cat(coarse, 1)  # there may be no fine ones


def recompose(weights: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
    """Sum up a cascade's levels, each times its weight, and a constant.

    Parameters
    ----------
    weights : Tensor of shape (steps, B, WEIGHTS, H / downsample, W / downsample)
        In the order of :func:`cascade`, the constant last.
    fine, coarse : Tensor
        What :func:`cascade` gave, of `FRAMES` frames.

    Returns
    -------
    Tensor of shape (steps, B, 1, H, W)
    """
    steps_B, H = weights.shape[:2], fine.shape[-2]
    of_fine, of_coarse, constant = weights.split([fine.shape[1], coarse.shape[1], 1], dim=2)
    smooth = (of_coarse * coarse).sum(2, keepdim=True) + constant
    cells = torch.cat([smooth, of_fine], 2).flatten(0, 1)
    wide = double(cells, round(log2(H / cells.shape[-2]))).unflatten(0, steps_B)  # as the levels were made
    return wide[:, :, :1] + (wide[:, :, 1:] * fine).sum(2, keepdim=True)


def persistence(steps: int) -> Tensor:
    """Return weights (steps, WEIGHTS) that give the newest frame again."""
    weights = torch.zeros(steps, WEIGHTS)
    weights[:, FRAMES - 1 : -1 : FRAMES] = 1.0
    return weights


@torch.no_grad()
def regress(samples: Iterable[tuple[Tensor, Tensor, Tensor]], downsample: int, *, ridge: float = 1e-4) -> Tensor:
    """Find, for each lead time, the weights that forecast best: least squares, the same weights everywhere.

    Parameters
    ----------
    samples : iterable of (frames, future, counts)
        (B, FRAMES, H, W) frames, and (B, steps, H, W) what came and whether it counts.
    downsample : int
        As in :func:`cascade`.
    ridge : float
        Added to the normal equations' diagonal, relative to its mean: levels that never vary get a weight of nought.

    Returns
    -------
    Tensor of shape (steps, WEIGHTS)

    Raises
    ------
    ValueError
        If nothing counts.
    """
    products = targets = torch.zeros((), dtype=torch.float64)
    for frames, future, counts in samples:
        fine, coarse = cascade(frames.double(), downsample)
        wide = double(coarse, round(log2(downsample)))
        features = torch.cat([fine, wide, torch.ones_like(wide[:, :1])], 1).transpose(0, 1).flatten(1)
        of_leads = zip(future.transpose(0, 1).flatten(1), counts.transpose(0, 1).flatten(1), strict=True)
        sums = [(X := features[:, at]) @ torch.cat([X, y[None, at]]).T for y, at in of_leads]
        products = products + torch.stack(sums)[..., :-1]
        targets = targets + torch.stack(sums)[..., -1]
    if products.ndim == 0 or not products.any():
        raise ValueError("no pixel counts: nothing to find weights from")
    size = products.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    damped = products + ridge * size[:, None, None] * torch.eye(WEIGHTS, dtype=products.dtype)
    return torch.linalg.solve(damped, targets).float()


def double(x: Tensor, times: int = 1) -> Tensor:
    """Return twice the rows and columns, ``times`` times."""
    for _ in range(times):
        x = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return x
