"""Pictures of polygons on what they outline."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipelines.common.files import atomic_path
from pipelines.common.text import printable
from pipelines.images.crops import Crops

CLASSES = 12  # rows of the picture of examples: the first so many
WHICH = {"best": 1.0, "median": 0.5, "worst": 0.0}
OURS, TRUE = "#ff2a6d", "#05d9e8"


def draw_examples(scores: pd.DataFrame, crops: Crops, polygons: Mapping[int, NDArray[np.floating]], path: Path) -> None:
    """Draw the best, the median and the worst polygon of each class, by columns crop, class_name and iou."""
    classes = sorted(scores["class_name"].unique())[:CLASSES]
    figure = Figure(figsize=(6.3, 0.4 + 2.2 * len(classes)), dpi=100, layout="constrained")
    axes = figure.subplots(len(classes), len(WHICH), squeeze=False)
    for row, name in zip(axes, classes, strict=True):
        ranked = scores[scores["class_name"] == name].sort_values("iou", kind="stable")
        for ax, (which, place) in zip(row, WHICH.items(), strict=True):
            example = ranked.iloc[round(place * (len(ranked) - 1))]
            i = int(example["crop"])
            ax.imshow(crops.image(i))
            draw_polygon(ax, crops.polygon(i), TRUE, vertices=False)
            draw_polygon(ax, polygons[i], OURS)
            title = f"{printable(name)}, {which}: IoU {example['iou']:.2f}"
            ax.set_title(title, fontsize=7, parse_math=False)
            ax.set_axis_off()
    figure.suptitle("red: the network's polygon; blue: the true one", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def draw_polygon(ax: Axes, points: NDArray[np.floating], colour: str, *, vertices: bool = True) -> None:
    """Draw a polygon, in pixels whose corners are whole numbers, on an image that matplotlib shows."""
    if len(points):
        x, y = np.concatenate([points, points[:1]]).T - 0.5
        ax.plot(x, y, color=colour, linewidth=1.2, marker="." if vertices else None, markersize=4)
