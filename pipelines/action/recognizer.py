"""A trained network as a recognizer of actions: frames of any size and number in, class probabilities out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.params.base import ModelName, Positive, Section
from pipelines.training.model_folder import Description, Layers, load_network
from pipelines.video.optical_flow import SCALE
from pipelines.video.samples import to_input
from scs_model.networks.recognition import Recognizer


class Network(Section):
    """Arguments of `scs_model.networks.recognition.Recognizer`, which says what they may be."""

    cell: str
    depth: Layers
    width: int
    subtasks: bool = False


class RecognizerDescription(Description):
    """What one has to know of a network to recognise actions with it.

    Parameters
    ----------
    method : {"recognizer"}
    name : str
        Of the model.
    network : Network
        How it is built.
    classes : list of str
    size : int
        Rows and columns of the square that it looks at, pixels.
    short_side : int
        Rows or columns, the fewer ones, that a frame is resized to before the square is cut out of its middle.
    rate : float or None
        Frames a second that it was trained on; None for each clip's own.
    piece : int
        Frames that are run at once.
    """

    method: Literal["recognizer"]
    name: ModelName
    network: Network
    classes: list[str]
    size: Positive
    short_side: Positive
    rate: float | None
    piece: Positive


@dataclass(frozen=True)
class ActionRecognizer:
    """A network and what it was trained on.

    Parameters
    ----------
    network : Recognizer
        In eval mode.
    description : RecognizerDescription
    """

    network: Recognizer
    description: RecognizerDescription

    def stream(self, frames: Iterable[NDArray[np.uint8]], *, with_subtasks: bool = False) -> Iterator[Any]:
        """Run over frames (H, W, 3) as they come, or (B, H, W, 3) of clips side by side, in the memory of one piece.

        Yields
        ------
        Tensor of shape (t, B, K), or ActionStreams
            Of a piece; see `scs_model.networks.recognition.Recognizer`.

        Raises
        ------
        UserError
            If a frame is none.
        """
        device = next(self.network.parameters()).device
        frames, states = iter(frames), None
        while piece := list(islice(frames, self.description.piece)):
            sides = [frame if frame.ndim == 4 else frame[None] for frame in piece]
            pixels = torch.from_numpy(np.stack([[self._prepare(image) for image in side] for side in sides])).to(device)
            with torch.inference_mode():
                x = to_input(pixels.permute(0, 1, 4, 2, 3))
                output, states = self.network(x, states, with_subtasks=with_subtasks)
            yield output

    def recognize(self, frames: Iterable[NDArray[np.uint8]]) -> dict[str, float]:
        """Return the probability of each class, the most probable first: log-probabilities averaged over the frames.

        Raises
        ------
        UserError
            If there is no frame, or one that is none.
        """
        total, count = torch.zeros(len(self.description.classes), dtype=torch.float64), 0
        for log_probabilities in self.stream(frames):
            total += log_probabilities.sum((0, 1)).double().cpu()
            count += len(log_probabilities)
        if not count:
            raise UserError("a clip of no frame shows no action")
        probabilities = (total / count).softmax(0).tolist()
        return dict(sorted(zip(self.description.classes, probabilities, strict=True), key=lambda pair: -pair[1]))

    def _prepare(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise UserError(f"a frame is uint8 (H, W, 3), red, green, blue; got {frame.dtype} {frame.shape}")
        H, W = frame.shape[:2]
        short_side, size = self.description.short_side, self.description.size
        if min(H, W) != short_side:
            scale = short_side / min(H, W)
            H, W = max(short_side, round(H * scale)), max(short_side, round(W * scale))
            frame = np.asarray(cv2.resize(frame, (W, H), interpolation=cv2.INTER_AREA), np.uint8)
        # Where training's samples are cut: on cells of the flow.
        top, left = ((side - size) // SCALE // 2 * SCALE for side in (H, W))
        return np.ascontiguousarray(frame[top : top + size, left : left + size])


def load_recognizer(folder: Path) -> ActionRecognizer:
    """Build the recognizer in ``folder`` from ``model.json`` and ``weights.safetensors``.

    Raises
    ------
    UserError
        If the folder holds none, or its weights don't fit.
    """
    description = RecognizerDescription.read(folder)
    arguments: dict[str, Any] = description.network.model_dump()
    network = load_network(folder, lambda: Recognizer(**arguments, classes=len(description.classes)))
    return ActionRecognizer(network.eval(), description)
