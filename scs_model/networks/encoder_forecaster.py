"""The encoder–forecaster: the same around every recurrent layer."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pixel_shuffle, pixel_unshuffle

from scs_model.layers.action import ActionSCS
from scs_model.layers.convgru import ConvGRU
from scs_model.layers.convlstm import ConvLSTM
from scs_model.layers.scs import SCS
from scs_model.layers.sequence import check_open_paths
from scs_model.layers.stack import Stack
from scs_model.layers.trajgru import TrajGRU
from scs_model.networks import cascade
from scs_model.networks.exceedance import NEIGHBOURHOODS, Exceedance

CELLS: dict[str, Any] = {
    "scs": SCS,
    "scs_action": ActionSCS,
    "convlstm": ConvLSTM,
    "convgru": ConvGRU,
    "trajgru": TrajGRU,
}


SHARES = 0.2  # of the shares' log-odds on the way in: they reach 7, and frames about 3
CHANGE = 0.3  # of a cascade's weight for each unit that the head says: weights are of order one, and change slowly


class Streams(NamedTuple):
    """What a network says with its subtasks.

    Parameters
    ----------
    forecast : Tensor of shape (B, steps, 1, H, W)
        The main stream's; (B, steps, K, H, W) of a probabilistic network.
    reconstruction : Tensor of shape (B, 1, 1, H, W)
        T¹: the newest frame, from the spatial stream.
    motion : Tensor of shape (B, steps, 2, H / downsample, W / downsample)
        T²: motion of the echo from each frame to the next, the newest first, from the temporal stream; x and y, in
        root mean squares.
    """

    forecast: Tensor
    reconstruction: Tensor
    motion: Tensor


class EncoderForecaster(nn.Module):
    """Frames in, later frames out: encode the observed ones, hand each layer's state over, unroll the forecast.

    Squares of ``downsample``² pixels become a cell's channels on the way in. Each lead time gets
    the last encoder output as its input, and beside it its number, as a share of ``leads``. What comes out changes a
    forecast that needs no network, a weighted sum of the newest frames' cascade (`scs_model.networks.cascade`): its
    weights, from place to place, the more the longer the lead time. A network that has learned nothing forecasts
    persistence.

    That is in coordinates that move with what is seen. In fixed ones frames come and go as they are: what comes out is
    each frame itself, with no forecast beneath it.

    With ``thresholds`` it is probabilistic: it forecasts how likely at least each of them is, what it changes is the
    regression of `scs_model.networks.exceedance`, and it sees the shares of exceedance too.

    Parameters
    ----------
    cell : str
        The recurrent layer, a key of `CELLS`.
    widths : list of int
        Channels of each recurrent layer, from the input on; the forecaster has the same ones in reverse.
    kernel : int
        Rows and columns of the recurrent layers' kernels, odd.
    downsample : int
        Pixels to a cell of the network, each way: 1, 2, 4 or 8.
    leads : int
        Lead times to forecast.
    residual : bool
        Whether each recurrent layer's input is added to its output, where their shapes are the same.
    subtasks : bool
        Whether to have heads for T¹ and T².
    thresholds : list of float, optional
        K values, ascending, in the units of the input.
    coordinates : {"moving", "fixed"}
        Whether it changes a forecast of what lies still, or forecasts what moves.

    Attributes
    ----------
    divisor : int
        What rows and columns of the input must be divisible by.
    exceedance : Exceedance or None
        What makes a network probabilistic.
    weights : Tensor of shape (leads, WEIGHTS)
        The cascade's weights before the network's change; not learned by gradient, see
        `scs_model.networks.cascade.regress`. None in fixed coordinates.
    switch_layers : int
        Layers whose paths can be switched: the L of ``open_paths``. A layer of the encoder and the one of the
        forecaster that goes on with its state are one.

    Raises
    ------
    ValueError
        If no network can be built from these.

    References
    ----------
    Shi et al. 2017, arXiv 1706.03458, section 3.1, for the structure.
    """

    weights: Tensor

    def __init__(
        self,
        cell: str,
        widths: list[int],
        kernel: int,
        downsample: int,
        leads: int,
        residual: bool = False,
        subtasks: bool = False,
        thresholds: list[float] | None = None,
        coordinates: str = "moving",
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell {cell!r} is none of {', '.join(CELLS)}")
        if not widths or min(widths) < 1:
            raise ValueError(f"widths are the channels of each layer, of one layer or more; got {widths}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel is an odd number of cells; got {kernel}")
        if downsample not in (1, 2, 4, 8):
            raise ValueError(f"downsample is a number of pixels, 1, 2, 4 or 8; got {downsample}")
        if leads < 1:
            raise ValueError(f"leads is a number of lead times, 1 or more; got {leads}")
        if coordinates not in ("moving", "fixed"):
            raise ValueError(f"coordinates are moving or fixed; got {coordinates!r}")
        if thresholds is not None and coordinates == "fixed":
            raise ValueError("in fixed coordinates it forecasts frames, and no probabilities: give no thresholds")

        def stack(channels: list[int]) -> Stack:
            return Stack((CELLS[cell](*pair, kernel) for pair in pairwise(channels)), residual=residual)

        self.downsample, self.leads, self.fixed = downsample, leads, coordinates == "fixed"
        self.divisor, seen, said = cascade.COARSEST, downsample**2, cascade.WEIGHTS
        if self.fixed:
            self.divisor, said = downsample, downsample**2
        self.exceedance = None
        if thresholds is not None:
            self.exceedance = Exceedance(thresholds, leads, downsample)
            self.divisor = max(self.divisor, downsample << NEIGHBOURHOODS[-1])
            seen, said = seen + len(NEIGHBOURHOODS) * len(thresholds), self.exceedance.channels
        if not self.fixed:
            self.register_buffer("weights", cascade.persistence(leads))
        self.stem = nn.Conv2d(seen, widths[0], 3, padding=1)
        self.encoder = stack([widths[0], *widths])
        self.forecaster = stack([widths[-1], *widths[::-1]])
        self.head = nn.Conv2d(widths[0], said, 3, padding=1)
        self.lead = nn.Linear(1, widths[-1])
        for parameter in () if self.fixed else self.head.parameters():
            nn.init.zeros_(parameter)
        self.switch_layers = len(widths) if self.encoder.is_scs else 0
        self.subtasks = subtasks
        if subtasks:
            if not self.encoder.is_scs:
                raise ValueError(f"only SCS layers have the subtasks' streams, and {cell} is none: set no subtasks")
            self.reconstruction_head = nn.Conv2d(widths[0], downsample**2, 3, padding=1)
            self.motion_head = nn.Conv2d(widths[0], 2, 3, padding=1)

    def forward(
        self,
        x: Tensor,
        steps: int,
        ensemble_size: int = 1,
        *,
        open_paths: Tensor | None = None,
        with_subtasks: bool = False,
    ) -> Any:
        """Forecast ``steps`` frames: mlcast's call.

        Parameters
        ----------
        x : Tensor of shape (B, T, 1, H, W)
            Observed frames, normalised, finite, oldest first; H and W divisible by `divisor`.
        steps : int
            Frames to forecast.
        ensemble_size : int
            1: the network is deterministic.
        open_paths : Tensor of shape (switch_layers, T + steps, 2), bool, or None
            Paths open to the gradient (`scs_model.stsgd.switch`); None opens all.
        with_subtasks : bool
            Whether to give all `Streams`, or the forecast alone and at its cost.

        Returns
        -------
        Tensor of shape (B, steps, 1, H, W), or Streams
            Of a probabilistic network (B, steps, K, H, W): the logarithms of the odds of at least each threshold,
            float32, never rising from one to the next.

        Raises
        ------
        ValueError
            If the input is none that the network can take, in words.
        """
        if ensemble_size != 1:
            raise ValueError(f"the network gives one forecast and no ensemble; got ensemble_size {ensemble_size}")
        if x.ndim != 5:
            raise ValueError(f"input is (B, T, C, H, W), five dimensions; got {x.ndim} in {tuple(x.shape)}")
        if with_subtasks and not self.subtasks:
            raise ValueError("the network was built without subtasks")
        frames = x.transpose(0, 1)
        z, of_lead = self._prepare(frames, steps, open_paths)
        forecast = torch.stack([of_lead(lead) for lead in range(steps)], 1)
        if not with_subtasks:
            return forecast
        return Streams(forecast, self._reconstruct(z[-1:]).transpose(0, 1), self._move(z, steps).transpose(0, 1))

    def each_lead(self, x: Tensor, steps: int) -> Iterator[Tensor]:
        """Forecast as `forward` does, one lead time (B, K, H, W) after the other: all of them take much memory."""
        _, of_lead = self._prepare(x.transpose(0, 1), steps, None)
        return map(of_lead, range(steps))

    def _prepare(self, frames: Tensor, steps: int, open_paths: Tensor | None) -> tuple[Tensor, Callable[[int], Tensor]]:
        """Compute what is on cells; return the frames' (T, B, widths[0], ...), and what gives a lead time's pixels."""
        self._check(frames, steps, open_paths)
        shares = None if self.exceedance is None else self.exceedance.shares(frames)
        z = self._embed(frames, shares)
        change = self._change(z, steps, open_paths)
        if self.fixed:
            return z, lambda lead: pixel_shuffle(change[lead].float(), self.downsample)
        newest = frames[-cascade.FRAMES :, :, 0].transpose(0, 1).float()
        fine, coarse = cascade.cascade(newest, self.downsample)
        weights = self.weights[:steps, None, :, None, None].float()
        if self.exceedance is None:
            weights = (weights + CHANGE * self._share(steps) * change).float()
            return z, lambda lead: cascade.recompose(weights[lead : lead + 1], fine, coarse)[0]
        assert shares is not None  # it is probabilistic
        everywhere = weights.expand(-1, len(newest), -1, *coarse.shape[-2:])
        log_odds = self.exceedance(change, shares[-2:], frames[-1])
        return z, lambda lead: log_odds(lead, cascade.recompose(everywhere[lead : lead + 1], fine, coarse)[0])

    def forecast(self, x: Tensor, steps: int) -> Tensor:
        """Forecast as `forward` does, time first: (T, B, 1, H, W) in, (steps, B, 1, H, W) out."""
        return self(x.transpose(0, 1), steps).transpose(0, 1)

    def _embed(self, frames: Tensor, shares: Tensor | None) -> Tensor:
        """Turn frames (T, B, 1, H, W) into cells (T, B, widths[0], H / downsample, W / downsample)."""
        z = pixel_unshuffle(frames, self.downsample)
        return leaky_relu(_each(self.stem, z if shares is None else torch.cat([z, SHARES * shares], 2)), 0.2)

    def _change(self, z: Tensor, steps: int, open_paths: Tensor | None) -> Tensor:
        """Run the main stream: what the head says for each lead time (steps, B, C, H, W), in cells."""
        observed = later = None
        if open_paths is not None and self.switch_layers:
            observed, later = open_paths[:, : len(z)], open_paths[:, len(z) :].flip(0)
        z, states = self.encoder(z, None, observed)
        z, _ = self.forecaster(self._of_leads(z[-1], steps), states[::-1], later)
        return _each(self.head, z)

    def _of_leads(self, z: Tensor, steps: int) -> Tensor:
        """Return the last encoder output (B, ...) as the input of each lead time."""
        return z + self.lead(self._share(steps).flatten(1))[:, None, :, None, None].to(z.dtype)

    def _share(self, steps: int) -> Tensor:
        """Each lead time as a share of the longest, (steps, 1, 1, 1, 1)."""
        numbers = torch.arange(1, steps + 1, dtype=self.lead.weight.dtype, device=self.lead.weight.device)
        return numbers.view(-1, 1, 1, 1, 1) / self.leads

    def _reconstruct(self, z: Tensor) -> Tensor:
        """Run T¹'s stream on the newest frame's cells (1, B, ...): that frame (1, B, 1, H, W)."""
        z = self.forecaster.spatial_stream(self.encoder.spatial_stream(z))
        return pixel_shuffle(_each(self.reconstruction_head, z), self.downsample)

    def _move(self, z: Tensor, steps: int) -> Tensor:
        """Run T²'s stream: motion (steps, B, 2, H / downsample, W / downsample)."""
        z, states = self.encoder.temporal_stream(z)
        z, _ = self.forecaster.temporal_stream(self._of_leads(z[-1], steps), states[::-1])
        return _each(self.motion_head, z)

    def _check(self, frames: Tensor, steps: int, open_paths: Tensor | None) -> None:
        T, B, C, H, W = frames.shape
        if C != 1:
            raise ValueError(f"input has 1 channel; got {C}")
        if not frames.is_floating_point():
            raise ValueError(f"input is of floating point; got {frames.dtype}")
        if T < 1 or steps < 1:
            raise ValueError(f"at least one frame in and one out; got {T} in, {steps} out")
        if B < 1 or H < 1 or W < 1:
            raise ValueError(f"at least one sample, of one pixel or more; got {B} of {H}×{W}")
        if H % self.divisor or W % self.divisor:
            raise ValueError(f"rows and columns must be divisible by {self.divisor}; got {H}×{W}: pad the grid")
        needed = 1 if self.fixed else cascade.FRAMES
        if needed > T or steps > self.leads:
            raise ValueError(f"up to {self.leads} frames out of {needed} or more in; got {steps} out of {T}")
        if open_paths is not None:
            check_open_paths(open_paths, self.switch_layers, T + steps, 2)
        # A value can't be looked at while a graph is made.
        if not torch.compiler.is_compiling() and not torch.isfinite(frames).all():
            raise ValueError("input has NaN or infinite values: fill what was not observed first")


def _each(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a module of frames to each of a sequence (T, B, ...)."""
    return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])
