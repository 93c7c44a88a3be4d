"""Maps of rain rate as pictures."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from pipelines.radar.frame import Rain
from pipelines.radar.grid import Grid

BOUNDS = [0.1, 0.5, 1, 2, 5, 10, 20, 50]  # mm/h
COLOURS = ["#c6dbef", "#6baed6", "#2171b5", "#41ab5d", "#fed976", "#fd8d3c", "#bd0026"]
SCALE = ListedColormap(COLOURS).with_extremes(bad="#d9d9d9", under="white", over="#49006a")
NORM = BoundaryNorm(BOUNDS, SCALE.N)


def draw_maps(
    rows: Mapping[str, Sequence[Rain]], columns: Sequence[str], grid: Grid, title: str, path: Path | BytesIO
) -> None:
    """Draw rain rate maps side by side with one scale in mm/h; grey is where nothing is known.

    Parameters
    ----------
    rows : mapping of str to sequence of ndarray (H, W), mm/h
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
        for column, rain_rate in enumerate(maps):
            ax = axes[row, column]
            image = ax.imshow(rain_rate, cmap=SCALE, norm=NORM, extent=extent, aspect=stretch)
            ax.tick_params(labelsize=7)
        axes[row, 0].set_ylabel(name, fontsize=10)
    for column, heading in enumerate(columns):
        axes[0, column].set_title(heading, fontsize=9)
        axes[-1, column].set_xlabel("km" if metres else "degrees", fontsize=8)
    pad = 0.3 / size[1]  # inches below the maps, whatever their height
    bar = figure.colorbar(
        image, ax=axes, location="bottom", extend="max", ticks=BOUNDS, shrink=0.6, aspect=50, pad=pad, format="%g"
    )
    bar.set_label("mm/h; grey: not known")
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.1)
