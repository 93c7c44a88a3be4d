"""Rain rate as a network sees it: a logarithm in coordinates that move with the rain, an echo image in fixed ones."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipelines.params.nowcast import Coordinates
from pipelines.radar.echo_image import echo_image


def normalise(rain_rate: Tensor) -> Tensor:
    """Return mm/h as ln(1 + R): of order one, zero where dry, and zero where the radar doesn't see (NaN)."""
    return torch.log1p(rain_rate.nan_to_num(0.0).clamp(min=0.0))


def network_input(coordinates: Coordinates) -> Callable[[Tensor], Tensor]:
    """Return what makes of mm/h the input of a network in such coordinates."""
    return echo_image if coordinates == "fixed" else normalise


def thresholds(rates: Sequence[float]) -> list[float]:
    """Return rain rates, mm/h, in the units of a network's input."""
    return normalise(torch.tensor(rates)).tolist()
