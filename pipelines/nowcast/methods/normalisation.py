"""Rain rate as a network sees it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rain = NDArray[np.float32]
DRY = 0.1  # mm/h; below it is no rain to an optical flow


def normalise(rain_rate: Tensor) -> Tensor:
    """Turn mm/h into ln(1 + R): of order one, zero where dry, and zero where the radar doesn't see (NaN)."""
    return torch.log1p(rain_rate.nan_to_num(0.0).clamp(min=0.0))
