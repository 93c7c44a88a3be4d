"""A trained network as one that steers, on paper: frames of any size in, the wheel's angle after each out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.driving.view import fit
from pipelines.params.base import ModelName, Positive, Section
from pipelines.training.model_folder import Description, Layers, load_network
from pipelines.video.samples import to_input
from scs_model.networks.regression import Regressor

AT_ONCE = 16  # windows that are run at once

Image = NDArray[np.uint8]


class Network(Section):
    """Arguments of `scs_model.networks.regression.Regressor`, which says what they may be."""

    cell: str
    depth: Layers
    width: int
    columns: int = 1
    subtasks: bool = False


class SteeringDescription(Description):
    """What one has to know of a network to say an angle with it.

    Parameters
    ----------
    method : {"steering"}
    name : str
        Of the model.
    network : Network
        How it is built.
    frames : int
        Observed frames.
    rate : float or None
        Frames a second that it was trained on; None for those that there are.
    ahead_s : float
        How long after the last frame the angle is, seconds.
    unit : str
        Of the angle: degrees, or share of full lock.
    scale : float
        Angle that the network says as 1.
    height, width : int
        Rows and columns that it looks at, pixels.
    """

    method: Literal["steering"]
    name: ModelName
    network: Network
    frames: Positive
    rate: float | None
    ahead_s: float
    unit: str
    scale: float
    height: Positive
    width: Positive


@dataclass(frozen=True)
class Steering:
    """A network and what it was trained on.

    Parameters
    ----------
    network : Regressor
        In eval mode.
    description : SteeringDescription
    """

    network: Regressor
    description: SteeringDescription

    def run(self, windows: NDArray[np.uint8], *, with_subtasks: bool = False) -> dict[str, NDArray[np.float32]]:
        """Return what the streams say after the last frame of windows (B, T, H, W, 3) of the network's own size.

        Returns
        -------
        dict
            ``main`` (B,), and with subtasks ``t1`` (B,), angles, and ``motion`` (B, C), T²'s features.
        """
        device = next(self.network.parameters()).device
        x = to_input(torch.from_numpy(windows).to(device).permute(1, 0, 4, 2, 3))
        with torch.inference_mode():
            output, _ = self.network(x, with_subtasks=with_subtasks)
        parts = {"main": output.main, "t1": output.spatial} if with_subtasks else {"main": output}
        said = {key: part[-1, :, 0].float().cpu().numpy() * self.description.scale for key, part in parts.items()}
        return said | ({"motion": output.motion[-1].float().cpu().numpy()} if with_subtasks else {})

    def steer(self, frames: Iterable[Image | None]) -> Iterator[float]:
        """Yield the angle after each frame (H, W, 3) as they come, in the memory of a few windows.

        The first angles rest on the frames that there are by then. None is a frame that nobody has: no angle (NaN), and
        what came before it counts no more.

        Raises
        ------
        UserError
            If a frame is none.
        """
        seen: tuple[Image, ...] = ()
        coming = iter(frames)
        while piece := list(islice(coming, AT_ONCE)):
            windows: list[tuple[Image, ...]] = []
            for frame in piece:
                seen = () if frame is None else (*seen, self._prepare(frame))[-self.description.frames :]
                windows.append(seen)
            angles = np.full(len(windows), np.nan)
            for length in {len(window) for window in windows} - {0}:
                places = [i for i, window in enumerate(windows) if len(window) == length]
                angles[places] = self.run(np.stack([np.stack(windows[i]) for i in places]))["main"]
            yield from angles.tolist()

    def _prepare(self, frame: Image) -> Image:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise UserError(f"a frame is uint8 (H, W, 3), red, green, blue; got {frame.dtype} {frame.shape}")
        return fit(frame, self.description.height, self.description.width)


def load_steering(folder: Path) -> Steering:
    """Build the network in ``folder`` from ``model.json`` and ``weights.safetensors``.

    Raises
    ------
    UserError
        If the folder holds none, or its weights don't fit.
    """
    description = SteeringDescription.read(folder)
    arguments: dict[str, Any] = description.network.model_dump()
    network = load_network(folder, lambda: Regressor(**arguments, outputs=1))
    return Steering(network.eval(), description)
