"""What MLflow has to know of the registered model ``radar-nowcast``."""

import numpy as np

from pipelines.tracking.registry import RegisteredModel, tensor

NAME = "radar-nowcast"
RADAR = RegisteredModel(
    name=NAME,
    samples="windows",
    loader="pipelines.nowcast.pyfunc",
    inputs=tensor(np.float32, -1, -1, -1),
    outputs=tensor(np.float32, -1, -1, -1),
    params={"leads": 12},
    example=(np.zeros((4, 64, 64), np.float32), {"leads": 12}),
    shown=("csi_mean", "crps"),
)
