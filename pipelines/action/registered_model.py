"""What a recogniser from the registry says of a video file."""

from pathlib import Path
from typing import Any

from pipelines.action.recognizer import load_recognizer
from pipelines.common.limits import Limits
from pipelines.training.exported_model import fetch_model
from pipelines.video.frames import Decoding
from pipelines.video.stream import stream_frames

FRAME_FOLDER_RATE = 25.0  # frames a second of a folder of pictures, which doesn't say


def recognize(clip: Path, uri: str, limits: Limits = Limits()) -> tuple[dict[str, float], str, str | None]:  # noqa: B008 - frozen
    """Return the probability of each class, the most probable first, and the model's name and version.

    The video streams through: however long it is, one piece of it is in memory. A process of ``limits`` decodes it.

    Raises
    ------
    UserError
        If there is no such model, it is none that recognises actions, or its content isn't what was registered.
    UnreadableFile
        If the clip can't be decoded, or takes more than it may.
    """
    folder, version = fetch_model(uri, _registered)
    recognizer = load_recognizer(folder)
    decoding = Decoding(
        short_side=recognizer.description.short_side,
        rate=recognizer.description.rate,
        min_frames=1,
        frame_folder_rate=FRAME_FOLDER_RATE,
        with_flow=False,
    )
    frames = stream_frames(clip, decoding, limits)
    return recognizer.recognize(frames), recognizer.description.name, version


def _registered() -> Any:
    """Return what MLflow has to know: imported here, as a folder needs none of it."""
    from pipelines.action.specification import ACTION

    return ACTION
