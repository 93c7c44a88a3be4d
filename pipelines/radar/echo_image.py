"""Echo images: reflectivity as grey levels from 0 to 1, as papers on radar echo sequences have it."""

import math

import torch
from torch import Tensor

A, B = 200.0, 1.6  # of Z = A·R^B (Marshall and Palmer): of every image, whatever an archive was converted by
LEAST_DBZ, MOST_DBZ = -10.0, 60.0  # black and white, as of HKO-7 (Shi et al. 2017, arXiv 1706.03458)


def echo_image(rain_rate: Tensor) -> Tensor:
    """Return rain rate, mm/h, as an echo image, any shape; 0 where dry, and where the radar doesn't see (NaN)."""
    dbz = 10 * math.log10(A) + 10 * B * torch.log10(rain_rate.nan_to_num(0.0).clamp(min=1e-6))
    return ((dbz - LEAST_DBZ) / (MOST_DBZ - LEAST_DBZ)).clamp(0.0, 1.0)


def echo_rain_rate(image: Tensor) -> Tensor:
    """Return an echo image as rain rate, mm/h; black, and blacker, is 0, and whiter than white as white; NaN is NaN."""
    dbz = LEAST_DBZ + (MOST_DBZ - LEAST_DBZ) * image.clamp(max=1.0)
    return torch.where(image <= 0, 0.0, 10 ** ((dbz / 10 - math.log10(A)) / B))
