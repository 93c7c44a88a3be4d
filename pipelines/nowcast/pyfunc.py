"""How MLflow loads a registered model by itself (`mlflow.pyfunc.load_model`, `mlflow models serve`)."""

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.nowcast.methods.extrapolation import Forecaster
from pipelines.nowcast.methods.interface import load_forecaster
from pipelines.radar.frame import Rain


class RadarNowcast:
    """What MLflow calls: rain rate (T_in, H, W) in mm/h with NaN in, rain rate (leads, H, W) in mm/h out."""

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster = forecaster

    def predict(self, rain_rate: Rain, params: dict[str, Any] | None = None) -> Rain:
        """Forecast ``params["leads"]`` frames."""
        return self.forecaster(np.asarray(rain_rate, np.float32), (params or {}).get("leads", 12))


def _load_pyfunc(folder: str) -> RadarNowcast:
    """Load the model from its folder: the name and call that MLflow prescribes."""
    return RadarNowcast(load_forecaster(Path(folder))[0])
