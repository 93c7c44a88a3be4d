"""Forecasts as echo images: MSE, SSIM and PSNR by lead time, as papers on radar echo sequences give them."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.radar.frame import Rain
from pipelines.verification.bootstrap import Statistic, mean_of_known
from pipelines.verification.scoring import COUNTS

WINDOW = 11  # rows and columns of the Gaussian window of SSIM
IMAGE_SUMS = ["image_squared_error", "image_ssim"]
SCORES = ("mse", "ssim", "psnr")


def image_sums(forecast: Rain, observed: Rain, mask: NDArray[np.bool_], minutes: Sequence[float]) -> pd.DataFrame:
    """Return one forecast's sums over the pixels that count: columns ``minutes`` and `IMAGE_SUMS`.

    Parameters
    ----------
    forecast, observed : ndarray of shape (leads, H, W), mm/h
        Both become echo images from 0 to 1 (`pipelines.radar.echo_image`).
    mask : ndarray of shape (leads, H, W)
        The pixels that count. Others are black in both images: the SSIM of a pixel beside them is of a window that is
        partly so.
    minutes : sequence of float
        The lead times.

    Raises
    ------
    UserError
        If the grid is smaller than the window of SSIM.

    References
    ----------
    Wang et al. 2004, doi:10.1109/TIP.2003.819861, for SSIM: Gaussian window of 1.5 pixels, data range 1; torchmetrics'.
    """
    # Here, not above: torch takes seconds to import, and few ask for images.
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    from pipelines.radar.echo_image import echo_image

    if min(mask.shape[1:]) < WINDOW:
        H, W = mask.shape[1:]
        raise UserError(f"evaluate.images: SSIM wants {WINDOW} rows and columns or more, and the grid has {H}×{W}")
    ssim = partial(structural_similarity_index_measure, data_range=1.0, return_full_image=True)
    rows = []
    for lead, counts in enumerate(mask):
        fields = (np.where(counts, rain[lead], np.float32(0)) for rain in (forecast, observed))
        predicted, seen = (echo_image(torch.from_numpy(field))[None, None] for field in fields)
        everywhere = ssim(predicted, seen)[1][0, 0].numpy()
        squares = (predicted - seen).square().sum(dtype=torch.float64).item()
        rows.append((float(minutes[lead]), squares, everywhere[counts].sum(dtype=np.float64)))
    return pd.DataFrame(rows, columns=["minutes", *IMAGE_SUMS])


def image_scores(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of summed `IMAGE_SUMS` and counts: columns `SCORES`; NaN where nothing counts.

    PSNR is -10·log10(MSE) of the pooled MSE: of single frames it would be infinite where a dry one is forecast dry.
    """
    mse, ssim = (sums[name] / sums[[*COUNTS]].sum(axis=1) for name in IMAGE_SUMS)
    with np.errstate(divide="ignore"):
        psnr = -10 * np.log10(mse.astype(float))
    return pd.DataFrame({"mse": mse, "ssim": ssim, "psnr": psnr}).replace([np.inf, -np.inf], np.nan)


def of_lead_times(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of all forecasts together, index minutes."""
    return image_scores(sums.groupby("minutes")[[*COUNTS, *IMAGE_SUMS]].sum())


def _mean(score: str) -> Statistic:
    columns = [*COUNTS, *IMAGE_SUMS]

    def of(sums: NDArray[np.float64], _: pd.Index) -> NDArray[np.float64]:
        scores = image_scores(pd.DataFrame(sums.reshape(-1, len(columns)), columns=columns))
        return mean_of_known(scores[score].to_numpy().reshape(sums.shape[:2]))

    return Statistic(columns, ["minutes"], of)


MEANS = {score: _mean(score) for score in SCORES}  # over lead times
