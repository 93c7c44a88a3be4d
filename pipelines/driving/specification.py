"""What MLflow has to know of the registered model ``steering-angle``."""

import numpy as np

from pipelines.tracking.registry import RegisteredModel, columns, tensor

STEERING = RegisteredModel(
    name="steering-angle",
    samples="drives",
    loader="pipelines.driving.pyfunc",
    inputs=tensor(np.uint8, -1, -1, -1, 3),
    outputs=columns({"angle": "double"}),
    example=np.zeros((4, 64, 96, 3), np.uint8),
    shown=("accuracy",),
)
