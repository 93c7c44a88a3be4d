"""The registered model ``action-recognition``, and what one of its versions says of a video file."""

from pathlib import Path

import numpy as np

from pipelines.action.recognizer import load_recognizer
from pipelines.tracking.registry import RegisteredModel, columns, tensor
from pipelines.video.decode import Decoding, read_frames

ACTION = RegisteredModel(
    name="action-recognition",
    samples="clips",
    loader="pipelines.action.pyfunc",
    inputs=tensor(np.uint8, -1, -1, -1, 3),
    outputs=columns({"class": "string", "probability": "double"}),
    example=np.zeros((4, 64, 64, 3), np.uint8),
    requirements=("mlflow", "numpy", "opencv-python-headless", "pandas", "safetensors", "torch"),
)
FRAME_FOLDER_RATE = 25.0  # frames a second of a folder of pictures, which doesn't say


def recognize(clip: Path, uri: str) -> tuple[dict[str, float], str, str]:
    """Return the probability of each class, the most probable first, and the model's name and version.

    The video streams through: however long it is, one piece of it is in memory.

    Raises
    ------
    UserError
        If there is no such model, or it is none that recognises actions.
    UnreadableFile
        If the clip can't be decoded.
    """
    location = ACTION.locate(uri)
    recognizer = load_recognizer(location.download())
    decoding = Decoding(
        short_side=recognizer.short_side,
        rate=recognizer.rate,
        min_frames=1,
        frame_folder_rate=FRAME_FOLDER_RATE,
        with_flow=False,
    )
    return recognizer.recognize(read_frames(clip, decoding)), recognizer.name, location.version
