"""What MLflow has to know of the registered model ``outline-annotation``."""

import numpy as np

from pipelines.tracking.registry import RegisteredModel, columns, tensors

OUTLINE = RegisteredModel(
    name="outline-annotation",
    samples="crops",
    loader="pipelines.outline.pyfunc",
    inputs=tensors({"image": (np.uint8, (-1, -1, -1, 3)), "box": (np.float64, (-1, 4))}),
    outputs=columns({"object": "long", "vertex": "long", "x": "double", "y": "double"}),
    example={"image": np.zeros((1, 64, 64, 3), np.uint8), "box": np.array([[16.0, 16.0, 48.0, 48.0]])},
    shown=("iou",),
)
