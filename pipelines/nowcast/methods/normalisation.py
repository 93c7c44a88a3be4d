"""Rain rate as a network in moving coordinates sees it; one in fixed ones sees `pipelines.radar.echo_image`."""

from collections.abc import Sequence

import torch
from torch import Tensor


def normalise(rain_rate: Tensor) -> Tensor:
    """Return mm/h as ln(1 + R): of order one, zero where dry, and zero where the radar doesn't see (NaN)."""
    return torch.log1p(rain_rate.nan_to_num(0.0).clamp(min=0.0))


def thresholds(rates: Sequence[float]) -> list[float]:
    """Return rain rates, mm/h, in the units of a network's input."""
    return normalise(torch.tensor(rates, device="cpu")).tolist()  # wherever the network is built
