"""Norms of the gradient into each layer at each frame, switched or not: Fig. 4 in training."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.common.files import atomic_path
from pipelines.params.training import Switch


def gradient_norms(
    layers: Sequence[nn.Module], loss: Callable[[Tensor | None], Tensor], draws: Iterable[Tensor | None]
) -> NDArray[np.float64]:
    """Return the norm of the loss's gradient into x_t of each layer, residual lines included; the mean over draws.

    Parameters
    ----------
    layers : sequence of L modules
        Each takes x (T, B, C, H, W) first, in one call a pass.
    loss : callable
        From open paths (L, T, 2), or None for all, to the loss of one forward pass; x needs a gradient in all layers.
    draws : iterable of open paths

    Returns
    -------
    Array of shape (L, T)
        Of one pass through ``loss`` a draw.
    """
    inputs: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for layer in layers]
    norms = []
    try:
        for draw in draws:
            inputs.clear()
            grads = torch.autograd.grad(loss(draw), inputs)
            norms.append([[frame.norm().item() for frame in grad] for grad in grads])
    finally:
        for hook in hooks:
            hook.remove()
    return np.mean(norms, axis=0, dtype=np.float64)


def write_gradients(rows: pd.DataFrame, table: Path, figure: Path) -> None:
    """Write norms and chains as CSV, and as PNG: a row a quantity, a column a switch, in each layers and frames.

    Parameters
    ----------
    rows : DataFrame
        Columns ``quantity``, ``switch``, ``layer`` and ``frame``, from 1 on, and ``log10``.
    """
    with atomic_path(table) as temporary:
        rows.to_csv(temporary, index=False)
    quantities, switches = rows["quantity"].unique(), rows["switch"].unique()
    drawing = Figure(figsize=(2.3 * len(switches) + 1.6, 2.2 * len(quantities) + 0.5), dpi=100, layout="constrained")
    axes = drawing.subplots(len(quantities), len(switches), sharex=True, sharey=True, squeeze=False)
    for row, quantity in zip(axes, quantities, strict=True):
        of_quantity = rows[rows["quantity"] == quantity]
        finite = of_quantity["log10"].replace(-np.inf, np.nan)
        levels = {"vmin": finite.min(), "vmax": finite.max(), "cmap": "viridis", "shading": "nearest"}
        for ax, switch in zip(row, switches, strict=True):
            panel = of_quantity[of_quantity["switch"] == switch]
            values = panel.pivot_table(index="layer", columns="frame", values="log10", dropna=False)
            image = ax.pcolormesh(values.columns, values.index, values, **levels)
            for axis in (ax.xaxis, ax.yaxis):
                axis.get_major_locator().set_params(integer=True)
        row[0].set_ylabel("layer")
        drawing.colorbar(image, ax=row, label=f"log10 of\n{quantity}")
    for top, bottom, switch in zip(axes[0], axes[-1], switches, strict=True):
        top.set_title(switch, fontsize=9)
        bottom.set_xlabel("frame")
    with atomic_path(figure) as temporary:
        drawing.savefig(temporary)


def name_of(switch: Switch) -> str:
    """Return a switch's name over a panel."""
    return "plain back-propagation" if switch.kind == "off" else switch.describe()
