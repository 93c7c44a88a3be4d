"""The registered models that there are: what each takes and gives, and how MLflow loads it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

from pipelines.tracking.store import ACTION_NAME, NAME


@dataclass(frozen=True)
class Kind:
    """A registered model.

    Parameters
    ----------
    name : str
        In the registry; its experiment has the same.
    samples : str
        What it is trained on.
    loader : str
        Module whose ``_load_pyfunc`` MLflow calls.
    signature : ModelSignature
        What it takes and gives.
    example : object
        An input.
    requirements : tuple of str
        Packages that it needs.
    """

    name: str
    samples: str
    loader: str
    signature: ModelSignature
    example: Any
    requirements: tuple[str, ...]


_RAIN = Schema([TensorSpec(np.dtype(np.float32), (-1, -1, -1), name=None)])
RADAR = Kind(
    name=NAME,
    samples="windows",
    loader="pipelines.nowcast.pyfunc",
    signature=ModelSignature(_RAIN, _RAIN, ParamSchema([ParamSpec("leads", "long", 12)])),
    example=(np.zeros((4, 64, 64), np.float32), {"leads": 12}),
    requirements=("mlflow", "numpy", "opencv-python-headless", "pysteps", "safetensors", "scipy", "torch"),
)
ACTION = Kind(
    name=ACTION_NAME,
    samples="clips",
    loader="pipelines.action.pyfunc",
    signature=ModelSignature(
        Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), name=None)]),
        Schema([ColSpec("string", "class"), ColSpec("double", "probability")]),
    ),
    example=np.zeros((4, 64, 64, 3), np.uint8),
    requirements=("mlflow", "numpy", "opencv-python-headless", "pandas", "safetensors", "torch"),
)
