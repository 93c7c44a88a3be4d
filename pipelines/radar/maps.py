"""Maps of rain rate as pictures."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure

from pipelines.radar.frame import Rain
from pipelines.radar.grid import Grid

BOUNDS = [0.1, 0.5, 1, 2, 5, 10, 20, 50]  # mm/h
COLOURS = ["#c6dbef", "#6baed6", "#2171b5", "#41ab5d", "#fed976", "#fd8d3c", "#bd0026"]
SCALE = ListedColormap(COLOURS).with_extremes(bad="#d9d9d9", under="white", over="#49006a")
LONGEST = 1000  # pixels of a map
NORM = BoundaryNorm(BOUNDS, SCALE.N)


class Scale(NamedTuple):
    """Colours of maps, and the bar that explains them: its ticks and their names, and what stands below."""

    colours: Colormap
    norm: BoundaryNorm
    extend: Literal["max", "both"]
    ticks: Sequence[float]
    names: Sequence[str]
    label: str


RAIN = Scale(SCALE, NORM, "max", BOUNDS, [f"{bound:g}" for bound in BOUNDS], "mm/h; grey: not known")


def thinned(grid: Grid, longest: int = LONGEST) -> tuple[tuple[slice, slice], Grid]:
    """Return which of a grid's pixels a picture needs, at most ``longest`` a side, and the grid of these."""
    few = slice(None, None, max(1, max(grid.shape) // longest))
    return (few, few), Grid(grid.crs, grid.x[few], grid.y[few])


def draw_maps(
    rows: Mapping[str, Sequence[Rain]],
    columns: Sequence[str],
    grid: Grid,
    title: str,
    path: Path | BytesIO,
    scale: Scale = RAIN,
) -> None:
    """Draw maps side by side with one scale, of rain rate in mm/h unless it is another; grey: nothing is known.

    Parameters
    ----------
    rows : mapping of str to sequence of ndarray (H, W)
        Name of a row, and its maps, one for each column.
    columns : sequence of str
        What stands above the columns.
    grid : Grid
        Of all maps; the axes show its own coordinates, kilometres where the projection has metres.
    path : Path or BytesIO
        The PNG to write.
    """
    H, W = grid.shape
    metres = grid.crs.is_projected
    unit = 1000.0 if metres else 1.0
    dy, dx = grid.spacing
    extent = np.array([grid.x[0] - dx / 2, grid.x[-1] + dx / 2, grid.y[-1] - dy / 2, grid.y[0] + dy / 2]) / unit
    # A degree of longitude is shorter than one of latitude.
    stretch = 1.0 if metres else 1 / np.cos(np.deg2rad(grid.y.mean()))
    width = 2.7
    height = width * min(max(stretch * H * dy / (W * dx), 0.4), 2.2)
    size = (width * len(columns) + 0.8, height * len(rows) + 1.2)
    # Compressed: maps have a shape of their own, and what is left over lies around them, where tight cuts it off.
    figure = Figure(figsize=size, dpi=120, layout="compressed")
    axes = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey=True)
    for row, (name, maps) in enumerate(rows.items()):
        for column, field in enumerate(maps):
            ax = axes[row, column]
            image = ax.imshow(field, cmap=scale.colours, norm=scale.norm, extent=extent, aspect=stretch)
            ax.tick_params(labelsize=7)
        axes[row, 0].set_ylabel(name, fontsize=10)
    for column, heading in enumerate(columns):
        axes[0, column].set_title(heading, fontsize=9)
        axes[-1, column].set_xlabel("km" if metres else "degrees", fontsize=8)
    pad = 0.3 / size[1]  # inches below the maps, whatever their height
    bar = figure.colorbar(image, ax=axes, location="bottom", extend=scale.extend, shrink=0.6, aspect=50, pad=pad)
    bar.set_ticks(scale.ticks, labels=scale.names)
    bar.minorticks_off()
    bar.set_label(scale.label)
    figure.suptitle(title, fontsize=11, parse_math=False)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.1)
