"""Probabilities of at least each of several values: a regression of log-odds that a network changes by place.

At each pixel, value and lead time the log-odds are linear in what is known there: by how much the newest frame exceeds
the value, and the best forecast from its cascade (on the pixels, so that nothing is blurred where nothing need be); and
in how large a share of neighbourhoods of several sizes it does, and how that has changed (on the cells of the network).
The network adds to the constant and to the two weights of the pixel, for each cell: it says where persistence can be
trusted, where only larger scales can, and where rain grows.
"""

from collections.abc import Callable
from functools import partial
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from scs_model.networks.cascade import double

NEIGHBOURHOODS = (0, 2, 3)  # log2 of their sides in cells
FEATURES = 2 * len(NEIGHBOURHOODS) + 1  # shares, their changes and a constant
SMALLEST = 0.05  # added to both values that are divided: below it there is nothing to tell apart
FARTHEST = 2.5  # largest logarithm of a ratio
LEAST = 1e-3  # share that counts as none
CHANGE = 0.3  # of a pixel's weight, for each unit that the head says


class Exceedance(nn.Module):
    """The log-odds, and the weights of their regression.

    Parameters
    ----------
    thresholds : list of float
        K values that are asked for, ascending, above 0, in the units of the network's input.
    leads : int
        Lead times.
    downsample : int
        Pixels to a cell, each way.

    Attributes
    ----------
    channels : int
        What a network's head has to give for each cell: K constants, K weights of the newest frame, and K of the
        cascade's forecast.
    calibration : Tensor of shape (leads, K, 2)
        Slope and constant of the last log-odds, found after the training: see `calibrate`.
    cuts : Tensor of shape (leads, K)
        Probability from which each threshold is forecast, in the field of the best CSI.

    Raises
    ------
    ValueError
        If the thresholds aren't such.
    """

    thresholds: Tensor
    calibration: Tensor
    cuts: Tensor

    def __init__(self, thresholds: list[float], leads: int, downsample: int) -> None:
        super().__init__()
        if not thresholds or not all(low < high for low, high in pairwise([0.0, *thresholds])):
            raise ValueError(f"thresholds are positive and ascending, one or more; got {thresholds}")
        K = len(thresholds)
        self.downsample, self.channels = downsample, 3 * K
        self.register_buffer("thresholds", torch.tensor(thresholds).view(-1, 1, 1), persistent=False)
        self.slopes = nn.Parameter(torch.full((leads, 2 * K, 1, 1), 0.5))
        self.weights = nn.Parameter(torch.zeros(leads, K, FEATURES))
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]).repeat(leads, K, 1))
        self.register_buffer("cuts", torch.full((leads, K), 0.5))

    def shares(self, frames: Tensor) -> Tensor:
        """Return the log-odds of the shares in neighbourhoods, on cells.

        Parameters
        ----------
        frames : Tensor of shape (..., 1, H, W)

        Returns
        -------
        Tensor of shape (..., K · len(NEIGHBOURHOODS), H / downsample, W / downsample)
            The neighbourhoods of each threshold beside each other.
        """
        exceeds = (frames >= self.thresholds).flatten(0, -4).to(frames.dtype)
        of_cell = avg_pool2d(exceeds, self.downsample)
        sizes = [double(avg_pool2d(of_cell, 2**size), size) for size in NEIGHBOURHOODS]
        share = torch.stack(sizes, 2).flatten(1, 2)
        return torch.logit(LEAST + (1 - 2 * LEAST) * share).unflatten(0, frames.shape[:-3])

    def forward(self, change: Tensor, shares: Tensor, newest: Tensor) -> Callable[[int, Tensor], Tensor]:
        """Return what gives a lead time's log-odds (B, K, H, W), which never rise from a threshold to the next.

        It takes the lead time's number and the cascade's forecast (B, 1, H, W): all lead times at once are much memory.

        Parameters
        ----------
        change : Tensor of shape (steps, B, channels, H / downsample, W / downsample)
            What the head says.
        shares : Tensor of shape (2, B, K · len(NEIGHBOURHOODS), H / downsample, W / downsample)
            Those of the newest frame but one, and of the newest.
        newest : Tensor of shape (B, 1, H, W)
        """
        exact = partial(torch.autocast, change.device.type, enabled=False)  # bfloat16 tells few probabilities apart
        with exact():
            change = change.float()
            before, now = shares.float().unflatten(2, (len(self.thresholds), -1))
            features = torch.cat([now, now - before, torch.ones_like(now[:, :, :1])], 2)
            of_newest = self._ratio(newest.float())

        def log_odds(lead: int, forecast: Tensor) -> Tensor:
            with exact():
                return self._log_odds(lead, change[lead], features, of_newest, self._ratio(forecast.float()))

        return log_odds

    def _log_odds(self, lead: int, change: Tensor, features: Tensor, of_newest: Tensor, of_forecast: Tensor) -> Tensor:
        K, times = len(self.thresholds), self.downsample.bit_length() - 1
        constants = change[:, :K] + torch.einsum("bkfhw,kf->bkhw", features, self.weights[lead])
        slopes = (self.slopes[lead] + CHANGE * change[:, K:]).split(K, 1)
        log_odds = double(constants, times)
        for slope, ratio in zip(slopes, (of_newest, of_forecast), strict=True):  # one by one: much memory
            log_odds = log_odds + double(slope, times) * ratio
        slope, intercept = self.calibration[lead, ..., None, None].unbind(1)
        ordered = accumulate((slope * log_odds + intercept).unbind(1), torch.minimum)
        return torch.stack(list(ordered), 1)

    def _ratio(self, frame: Tensor) -> Tensor:
        """Return how much a frame (B, 1, H, W) exceeds each threshold by, (B, K, H, W)."""
        ratio = (frame.clamp(min=0) + SMALLEST) / (self.thresholds + SMALLEST)
        return torch.log(ratio).clamp(-FARTHEST, FARTHEST)
