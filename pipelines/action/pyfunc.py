"""How MLflow loads a registered model of action recognition by itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.action.recognizer import ActionRecognizer, load_recognizer


class ActionRecognition:
    """What MLflow calls: uint8 frames (T, H, W, 3) in, red, green, blue; the classes and their probabilities out."""

    def __init__(self, recognizer: ActionRecognizer) -> None:
        self.recognizer = recognizer

    def predict(self, frames: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return columns class and probability, the most probable first."""
        probabilities = self.recognizer.recognize(np.asarray(frames))
        return pd.DataFrame(probabilities.items(), columns=["class", "probability"])


def _load_pyfunc(folder: str) -> ActionRecognition:
    """Load the model from its folder: the name and call that MLflow prescribes."""
    return ActionRecognition(load_recognizer(Path(folder)))
