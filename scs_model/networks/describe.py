"""What a network is: its size, its cost, how far it sees and what it wants."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from scs_model.networks.cascade import COARSEST
from scs_model.networks.encoder_forecaster import EncoderForecaster
from scs_model.networks.exceedance import NEIGHBOURHOODS


@dataclass(frozen=True)
class Description:
    """A network in numbers.

    Parameters
    ----------
    live_parameters : int
        Those that the forecast depends on.
    other_parameters : int
        The others: heads of subtasks.
    multiply_adds_per_frame : float
        Of the convolutions, on the given grid, over frames in and out.
    receptive_field_pixels : int
        Rows and columns of the oldest frame that the network's change to a cell's weights of the last forecast depends
        on; a cascade's levels see further, `scs_model.networks.cascade.COARSEST` pixels and some.
    newest_receptive_field_pixels : int
        Rows and columns of the newest frame that the change to a cell's weights of the first forecast depends on.
    follows_flow : bool
        Whether the network sees further, wherever its flows point (TrajGRU).
    wants : str
        The input, in words.
    """

    live_parameters: int
    other_parameters: int
    multiply_adds_per_frame: float
    receptive_field_pixels: int
    newest_receptive_field_pixels: int
    follows_flow: bool
    wants: str


def describe(network: EncoderForecaster, *, inputs: int, steps: int, height: int, width: int) -> Description:
    """Describe a network that forecasts ``steps`` frames from ``inputs`` on a grid of ``height`` × ``width`` pixels.

    The grid is rounded up to what the network can take.
    """
    d = network.downsample
    cells = -(-height // d) * -(-width // d)
    # Convolutions keep the grid, so that a small one tells the cost of a large one.
    side = network.divisor // d
    parameter = next(network.parameters())
    x = torch.zeros(1, inputs, 1, side * d, side * d, dtype=parameter.dtype, device=parameter.device)
    parameters = list(network.parameters())
    was_training = network.training
    network.eval()
    with FlopCounterMode(display=False) as counter:
        forecast = network(x, steps)
    reached = torch.autograd.grad(forecast.sum(), parameters, allow_unused=True)
    network.train(was_training)
    live = sum(p.numel() for p, grad in zip(parameters, reached, strict=True) if grad is not None)
    return Description(
        live_parameters=live,
        other_parameters=sum(p.numel() for p in parameters) - live,
        multiply_adds_per_frame=counter.get_total_flops() / 2 * cells / side**2 / (inputs + steps),
        receptive_field_pixels=_receptive_field(network, inputs - 1, steps - 1),
        newest_receptive_field_pixels=_receptive_field(network, 0, 0),
        follows_flow=_follows_flow(network),
        wants=(
            f"(B, T, 1, H, W), T = {inputs} frames, oldest first, normalised and finite; "
            f"H and W divisible by {network.divisor}"
        ),
    )


def halo(network: EncoderForecaster, *, inputs: int, steps: int) -> int | None:
    """Return how many pixels around a tile its forecast depends on, a multiple of `EncoderForecaster.divisor`.

    For tiles whose surroundings begin at multiples of it: means over blocks are the whole grid's then, and what is
    interpolated between them reaches no further than the next. None where a network sees any distance (TrajGRU).
    """
    if _follows_flow(network):
        return None
    radius = _receptive_field(network, inputs - 1, steps - 1) // 2 + network.downsample  # cells are interpolated
    blocks = 0 if network.exceedance is None else network.downsample << NEIGHBOURHOODS[-1]  # that cells see
    return -(-max(radius + blocks, COARSEST) // network.divisor) * network.divisor


def _follows_flow(network: EncoderForecaster) -> bool:
    return any(hasattr(layer, "links") for layer in network.encoder.layers)


def _receptive_field(network: EncoderForecaster, past: int, future: int) -> int:
    """Pixels, each way, that the forecast ``future`` steps after the first sees of the frame ``past`` steps back.

    The way that sees furthest is up the encoder and down the forecaster; where it goes through time it enters a state,
    and then one more cell or so for each step. A layer's `reach` is, in cells, that from h_t to x_t, that from its
    state to x_t, and that from its state to the state before.
    """
    layer: Any = network.encoder.layers[0]  # all have the same
    of_input, of_state_input, of_state = layer.reach
    radius = 1 + 1  # stem and head
    for time_steps in (past, future):
        radius += len(network.encoder.layers) * of_input
        if time_steps:
            radius += of_state_input - of_input + time_steps * of_state
    return (2 * radius + 1) * network.downsample
