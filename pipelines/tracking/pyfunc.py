"""The registered model's code: MLflow runs this file to build it, so that nothing of it is pickled."""

from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from pipelines.forecasters import load_forecaster


class RadarNowcast(PythonModel):
    """Rain rate (T_in, H, W) in mm/h with NaN in, rain rate (leads, H, W) in mm/h out; see pipelines.forecasters."""

    def load_context(self, context: Any) -> None:
        """Build the forecaster from the artifact folder ``model``."""
        self.forecaster = load_forecaster(Path(context.artifacts["model"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints as a schema
        """Forecast ``params["leads"]`` frames."""
        return self.forecaster(np.asarray(model_input, np.float32), (params or {}).get("leads", 12))


set_model(RadarNowcast())
