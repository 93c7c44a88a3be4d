"""Pictures of polygons on what they outline."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from pipelines.common.files import atomic_path
from pipelines.common.text import printable
from pipelines.images.crops import Crops

CLASSES = 12  # rows of the picture of examples: the first so many
WHICH = {"best": 1.0, "median": 0.5, "worst": 0.0}
OURS, TRUE = "#ff2a6d", "#05d9e8"
RGB = (255, 42, 109)  # OURS
OVERLAY = 2000  # rows or columns, the more of them, of a picture of annotations at most


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


def write_overlay(image: NDArray[np.uint8], polygons: Sequence[NDArray[np.floating]], path: Path) -> None:
    """Write an image, made smaller if it is large, with polygons and the numbers of their vertices."""
    scale = min(1.0, OVERLAY / max(image.shape[:2]))
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    canvas = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image).copy()
    for polygon in polygons:
        points = np.round((polygon * scale - 0.5) * 16).astype(np.int32)
        cv2.polylines(canvas, [points[:, None]], True, RGB, 1, cv2.LINE_AA, shift=4)
        for number, point in enumerate(points):
            cv2.circle(canvas, point.tolist(), 32, RGB, -1, cv2.LINE_AA, shift=4)
            corner = (int(point[0] // 16) + 3, int(point[1] // 16) - 3)
            cv2.putText(canvas, str(number), corner, cv2.FONT_HERSHEY_SIMPLEX, 0.3, RGB, 1, cv2.LINE_AA)
    with atomic_path(path) as temporary:
        Image.fromarray(canvas).save(temporary, "PNG")
