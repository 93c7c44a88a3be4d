"""A trained network as a forecaster: on any grid, in moving coordinates."""

import numpy as np
import torch
from torch.nn.functional import pad

from pipelines.common.errors import UserError
from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.fields import probability_matching
from pipelines.nowcast.methods.normalisation import normalise
from pipelines.radar.frame import Rain
from scs_model import EncoderForecaster


class NetworkForecaster:
    """A trained network as a forecaster.

    Parameters
    ----------
    network : EncoderForecaster
    inputs : int
        Frames that it was trained on; older ones are not used.
    """

    def __init__(self, network: EncoderForecaster, inputs: int) -> None:
        self.network, self.inputs, self.leads = network.eval(), inputs, network.leads

    @torch.inference_mode()
    def __call__(self, rain_rate: Rain, leads: int) -> Rain:
        """Forecast; NaN where the newest frame is NaN, and where the rain would come from outside of what it shows.

        After the last lead time that the network was trained for, its rain only moves on.
        """
        if len(rain_rate) < self.inputs:
            raise UserError(f"the model wants {self.inputs} frames, and got {len(rain_rate)}")
        _, H, W = rain_rate.shape
        newest = np.ascontiguousarray(rain_rate[-self.inputs :])
        motion = lagrangian.motion(rain_rate)
        x = normalise(torch.from_numpy(lagrangian.align(newest, motion, slice(0, H), slice(0, W))))[None, :, None]
        divisor = self.network.divisor
        x = pad(x, (0, -W % divisor, 0, -H % divisor))
        y = self.network(x, min(leads, self.leads))[0, :, 0, :H, :W].numpy()
        seen = np.isfinite(newest[-1])
        y = np.stack([probability_matching(field, newest[-1]) for field in y])
        y = np.where(seen, np.concatenate([y, np.repeat(y[-1:], leads - len(y), axis=0)]), np.float32(np.nan))
        return np.where(seen, lagrangian.advect(y, motion), np.float32(np.nan))
