"""What MLflow has to know of the registered model ``action-recognition``."""

import numpy as np

from pipelines.tracking.registry import RegisteredModel, columns, tensor

ACTION = RegisteredModel(
    name="action-recognition",
    samples="clips",
    loader="pipelines.action.pyfunc",
    inputs=tensor(np.uint8, -1, -1, -1, 3),
    outputs=columns({"class": "string", "probability": "double"}),
    example=np.zeros((4, 64, 64, 3), np.uint8),
    shown=("top1",),
)
