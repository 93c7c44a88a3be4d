"""How MLflow loads a registered model of outline annotation by itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.common.errors import UserError
from pipelines.outline.annotator import Annotator, load_annotator


class OutlineAnnotation:
    """What MLflow calls: uint8 images (B, H, W, 3), red, green, blue, and a box (x0, y0, x1, y1) of each, in pixels.

    One image may have many boxes: then it is given once, (1, H, W, 3).
    """

    def __init__(self, annotator: Annotator) -> None:
        self.annotator = annotator

    def predict(self, asked: dict[str, np.ndarray], params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return columns object (number of the box), vertex (its number), x and y, in pixels of the image."""
        images, boxes = np.asarray(asked["image"]), np.asarray(asked["box"])
        if not len(boxes):
            raise UserError("no box: say where objects are")
        if len(images) not in (1, len(boxes)):
            raise UserError(f"{len(images)} images and {len(boxes)} boxes: a box an image, or one image for all")
        tables = []
        for number, box in enumerate(boxes):
            (outline,) = self.annotator.annotate(images[number if len(images) > 1 else 0], [box])
            x, y = outline.points.T
            tables.append(pd.DataFrame({"object": number, "vertex": range(len(x)), "x": x, "y": y}))
        return pd.concat(tables, ignore_index=True)


def _load_pyfunc(folder: str) -> OutlineAnnotation:
    """Load the model from its folder: the name and call that MLflow prescribes."""
    return OutlineAnnotation(load_annotator(Path(folder)))
