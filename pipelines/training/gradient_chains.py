"""Back-propagation chains as a table and a figure: the paper's Fig. 4."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path
from scs_model.stsgd.chains import chain_table


def parse_range(text: str) -> list[int]:
    """Parse ``1..17``, or ``2,5,10``, into numbers, all at least 1; raises UserError if it is neither."""
    try:
        first, dots, last = text.partition("..")
        numbers = list(range(int(first), int(last) + 1)) if dots else [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UserError(f"{text!r}: a range such as 1..17, or a list such as 2,5,10, of numbers from 1 on")
    return numbers


def parse_probabilities(text: str) -> list[float]:
    """Parse ``0,0.25,0.5`` into probabilities; raises UserError if it holds anything else."""
    try:
        probabilities = [float(number) for number in text.split(",")]
    except ValueError:
        probabilities = [np.nan]
    if not all(0 <= p <= 1 for p in probabilities):
        raise UserError(f"{text!r}: a list of probabilities, such as 0,0.25,0.5")
    return probabilities


def write_chains(
    layers: Sequence[int], steps: Sequence[int], ps: Sequence[float], kind: str, table: Path, figure: Path
) -> pd.DataFrame:
    """Write the expected number of chains for each p, L and T as CSV, and as PNG, a panel a p; return the table."""
    rows = pd.DataFrame(chain_table(layers, steps, ps, kind))
    with atomic_path(table) as temporary:
        rows.to_csv(temporary, index=False)
    panels = list(rows.groupby(["kind", "p"], sort=False))
    logs = rows["log10_chains"]
    levels = {"vmin": min(0.0, logs.min()), "vmax": logs.max(), "cmap": "viridis", "shading": "nearest"}
    drawing = Figure(figsize=(2.4 * len(panels) + 1.2, 3.2), dpi=100, layout="constrained")
    axes = drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, ((of_kind, p), panel) in zip(axes, panels, strict=True):
        counts = panel.pivot_table(index="layers", columns="steps", values="log10_chains")
        image = ax.pcolormesh(counts.columns, counts.index, counts, **levels)
        ax.set_title(
            "plain back-propagation" if of_kind == "off" else f"{of_kind.replace('_', '-')}, p = {p:g}", fontsize=9
        )
        ax.set_xlabel("time steps T")
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("layers L")
    drawing.colorbar(image, ax=axes, label="log10 of expected chains")
    with atomic_path(figure) as temporary:
        drawing.savefig(temporary)
    return rows
