"""S-PROG and the mean of a STEPS ensemble, by pysteps: extrapolation that also fades what can't be foreseen."""

import os
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.nowcast.methods.extrapolation import extrapolation, lucas_kanade
from pipelines.radar.frame import DRY, Rain

AR_ORDER = 2  # both look at AR_ORDER + 1 frames
CASCADE: dict[str, Any] = {"precip_thr": 10 * np.log10(DRY), "n_cascade_levels": 6, "ar_order": AR_ORDER}
DRY_DECIBELS = -15.0  # what a pixel without rain is in 10·log10(R), below that of DRY
FEWEST_WET = 50  # pixels; from fewer no correlation in time can be estimated


class PystepsNowcast:
    """One of pysteps' nowcasts as a forecaster; where it can't forecast, :func:`extrapolation` does.

    pysteps raises or gives nothing for frames without rain, with holes that move, or with too few of them. Pixels that
    it leaves out and extrapolation knows are extrapolation's.

    Parameters
    ----------
    nowcast : callable
        ``nowcast(decibels, velocity, leads)``: (3, H, W) and (2, H, W) to (leads, H, W), decibels of mm/h.

    Attributes
    ----------
    fell_back : bool
        Whether the last forecast is extrapolation's.
    """

    def __init__(self, nowcast: Callable[[NDArray[np.float64], NDArray[np.float64], int], NDArray[np.float64]]) -> None:
        self.nowcast, self.fell_back = nowcast, False

    def __call__(self, rain_rate: Rain, leads: int) -> Rain:
        """Forecast (leads, H, W) mm/h from (T_in, H, W) mm/h."""
        moved = extrapolation(rain_rate, leads)
        newest = rain_rate[-(AR_ORDER + 1) :]
        seen = np.isfinite(newest)
        decibels = 10 * np.log10(np.maximum(newest, DRY), where=seen, out=np.zeros(seen.shape))
        decibels = np.where(newest >= DRY, decibels, np.where(seen, DRY_DECIBELS, np.nan))
        self.fell_back = len(newest) <= AR_ORDER or ((newest >= DRY).sum(axis=(1, 2)) < FEWEST_WET).any()
        if not self.fell_back:
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"), redirect_stdout(None):
                    warnings.simplefilter("ignore")
                    said = self.nowcast(decibels, lucas_kanade(newest), leads)
            # Its numerics fail in many ways on odd fields (no rain at a scale, a singular matrix), each with its own
            # type; whatever it was, there is a forecast, and the table counts how often it was extrapolation's.
            except (ValueError, RuntimeError, ArithmeticError, IndexError, np.linalg.LinAlgError):
                self.fell_back = True
        if self.fell_back:
            return moved
        rain = np.where(said > 10 * np.log10(DRY), 10 ** (said / 10), 0.0)
        return np.where(np.isfinite(said), rain, moved).astype(np.float32)


def sprog() -> PystepsNowcast:
    """Return S-PROG: each scale fades as its autocorrelation in Lagrangian coordinates says (Seed 2003).

    References
    ----------
    Seed 2003, doi:10.1175/1520-0450(2003)042<0381:ADASAT>2.0.CO;2; pysteps: doi:10.5194/gmd-12-4185-2019.
    """
    with redirect_stdout(None):  # it prints where its configuration lies
        from pysteps.nowcasts.sprog import forecast

    return PystepsNowcast(partial(forecast, **CASCADE))


def steps(*, members: int, seed: int, pixel_m: float, step_s: int) -> PystepsNowcast:
    """Return the mean of a STEPS ensemble: S-PROG with noise of the rain's own spectrum for what fades.

    Parameters
    ----------
    members : int
        Of the ensemble; the mean over mm/h.
    seed : int
        Of the noise; each forecast draws the same.
    pixel_m, step_s : float, int
        Size of a pixel, metres, and seconds from frame to frame: the motion's error grows in km/h.

    References
    ----------
    Bowler et al. 2006, doi:10.1256/qj.04.100; pysteps: doi:10.5194/gmd-12-4185-2019.
    """
    with redirect_stdout(None):
        from pysteps.nowcasts.steps import forecast

    def nowcast(decibels: NDArray[np.float64], velocity: NDArray[np.float64], leads: int) -> NDArray[np.float64]:
        means = []

        def keep_mean(members_then: NDArray[np.float64]) -> None:
            rain = np.where(members_then > 10 * np.log10(DRY), 10 ** (members_then / 10), 0.0)
            means.append(np.where(np.isfinite(members_then), rain, np.nan).mean(axis=0))

        forecast(
            decibels,
            velocity,
            leads,
            n_ens_members=members,
            **CASCADE,
            kmperpixel=pixel_m / 1000,
            timestep=step_s / 60,
            seed=seed,  # of each member's own generator: the number of workers changes nothing
            num_workers=min(members, os.cpu_count() or 1),
            callback=keep_mean,
            return_output=False,  # all members at all lead times don't fit into memory on a national grid
        )
        return 10 * np.log10(np.stack(means))

    return PystepsNowcast(nowcast)
