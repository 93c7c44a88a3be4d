"""The encoder–forecaster: the same around every recurrent layer."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pixel_shuffle, pixel_unshuffle

from scs_model.convlstm import ConvLSTM
from scs_model.scs import SCS

CELLS: dict[str, Any] = {"scs": SCS, "convlstm": ConvLSTM}


class EncoderForecaster(nn.Module):
    """Frames in, later frames out: encode the observed ones, hand each layer's state over, unroll the forecast.

    Squares of ``downsample``² pixels become channels on the way in and pixels on the way out. Each lead time gets
    the last encoder output as its input, and the newest frame is added to what comes out, so that a network that
    has learned nothing forecasts persistence.

    Parameters
    ----------
    cell : str
        The recurrent layer, a key of `CELLS`.
    widths : list of int
        Channels of each recurrent layer, from the input on; the forecaster has the same ones in reverse.
    kernel : int
        Rows and columns of the recurrent layers' kernels, odd.
    downsample : int
        Pixels to a cell of the network, each way.

    Attributes
    ----------
    downsample : int
        What rows and columns of the input must be divisible by.
    switch_layers : int
        Layers whose paths STSGD can stop: the L of ``open_paths``.

    Raises
    ------
    ValueError
        If the network can't be built from these.

    References
    ----------
    The structure is that of Shi et al. 2017, arXiv 1706.03458, section 3.1.
    """

    def __init__(self, cell: str, widths: list[int], kernel: int, downsample: int) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell {cell!r} is none of {', '.join(CELLS)}")
        if not widths or min(widths) < 1:
            raise ValueError(f"widths are the channels of each layer, at least one of at least 1; got {widths}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel is an odd number of pixels; got {kernel}")
        if downsample < 1:
            raise ValueError(f"downsample is at least 1; got {downsample}")
        layer = CELLS[cell]
        self.downsample = downsample
        self.switch_layers = len(widths) if layer.switched else 0
        self.stem = nn.Conv2d(downsample**2, widths[0], 3, padding=1)
        down = zip([widths[0], *widths], widths, strict=False)
        up = zip([widths[-1], *widths[::-1]], widths[::-1], strict=False)
        self.encoder = nn.ModuleList(layer(c_in, c_out, kernel) for c_in, c_out in down)
        self.forecaster = nn.ModuleList(layer(c_in, c_out, kernel) for c_in, c_out in up)
        self.head = nn.Conv2d(widths[0], downsample**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, steps: int, ensemble_size: int = 1, *, open_paths: Tensor | None = None) -> Tensor:
        """Forecast ``steps`` frames.

        Parameters
        ----------
        x : Tensor of shape (B, T, 1, H, W)
            Observed frames, normalised, finite, oldest first; H and W divisible by `downsample`.
        steps : int
            Frames to forecast.
        ensemble_size : int
            1: the network is deterministic.
        open_paths : Tensor of shape (switch_layers, T + steps, 2), bool, or None
            Paths open to the gradient (`scs_model.switch`); None stops nothing.

        Returns
        -------
        Tensor of shape (B, steps, 1, H, W)

        Raises
        ------
        ValueError
            If the input is none that the network can take, in words.
        """
        self._check(x, steps, ensemble_size, open_paths)
        T = x.shape[1]
        z = self._frames(self.stem, pixel_unshuffle(x.transpose(0, 1), self.downsample))
        z = leaky_relu(z, 0.2)
        states = []
        for index, layer in enumerate(self.encoder):
            z, state = layer(z, None, **self._switch(open_paths, index, slice(None, T)))
            states.append(state)
        z = z[-1:].expand(steps, *z.shape[1:])
        for index, layer in zip(range(len(states) - 1, -1, -1), self.forecaster, strict=True):
            z, _ = layer(z, states[index], **self._switch(open_paths, index, slice(T, None)))
        change = pixel_shuffle(self._frames(self.head, z), self.downsample)
        return x[:, -1:] + change.transpose(0, 1)

    @staticmethod
    def _frames(module: nn.Module, x: Tensor) -> Tensor:
        return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def _switch(self, open_paths: Tensor | None, index: int, times: slice) -> dict[str, Tensor]:
        if open_paths is None or not self.switch_layers:
            return {}
        return {"open_paths": open_paths[index, times]}

    def _check(self, x: Tensor, steps: int, ensemble_size: int, open_paths: Tensor | None) -> None:
        if x.ndim != 5:
            raise ValueError(f"input is (B, T, C, H, W), five dimensions; got {tuple(x.shape)}")
        _, T, C, H, W = x.shape
        if C != 1:
            raise ValueError(f"input has 1 channel; got {C} in {tuple(x.shape)} as (B, T, C, H, W)")
        if T < 1 or steps < 1:
            raise ValueError(f"at least one frame in and one out; got {T} in, {steps} out")
        if H % self.downsample or W % self.downsample:
            raise ValueError(f"rows and columns must be divisible by {self.downsample}; got {H}×{W}: pad the grid")
        if ensemble_size != 1:
            raise ValueError(f"one deterministic forecast, no ensemble; got ensemble_size {ensemble_size}")
        if open_paths is not None and self.switch_layers:
            wanted = (self.switch_layers, T + steps, 2)
            if tuple(open_paths.shape) != wanted:
                raise ValueError(f"open_paths is {wanted} as (layers, T + steps, 2); got {tuple(open_paths.shape)}")
        if not torch.compiler.is_compiling() and not torch.isfinite(x).all():
            raise ValueError("input has NaN or infinite values: fill what the radar doesn't see first")
