"""How MLflow loads a registered model of auto-driving by itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.driving.steering import Steering, load_steering


class SteeringAngle:
    """What MLflow calls: uint8 frames (T, H, W, 3) in, red, green, blue; the wheel's angle after each out."""

    def __init__(self, steering: Steering) -> None:
        self.steering = steering

    def predict(self, frames: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the column angle, in the unit that the model was trained in."""
        return pd.DataFrame({"angle": list(self.steering.steer(np.asarray(frames)))})


def _load_pyfunc(folder: str) -> SteeringAngle:
    """Load the model from its folder: the name and call that MLflow prescribes."""
    return SteeringAngle(load_steering(Path(folder)))
