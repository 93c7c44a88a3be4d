"""Probabilities that need no training: of the neighbourhood of what is extrapolated, and of the climate."""

from collections.abc import Callable, Sequence
from contextlib import redirect_stdout

import cv2
import numpy as np

from pipelines.common.errors import UserError
from pipelines.nowcast.methods import fields, lagrangian
from pipelines.nowcast.methods.climatology import Climatology
from pipelines.nowcast.methods.distribution import Distribution, Exceedance
from pipelines.nowcast.methods.extrapolation import extrapolation, lucas_kanade
from pipelines.radar.frame import Rain

# Of the square whose share `neighbourhood` counts: of 5, 9, 17, 25, 33 and 49 km the best compromise in CRPS over
# 10 to 60 minutes on four archives (MeteoSwiss, KNMI, BoM); narrower ones were better at 10 minutes, wider ones at 60.
SIDE_KM = 25.0


class ExceedanceForecaster:
    """A forecaster of probabilities alone, whose field is their mean.

    Parameters
    ----------
    exceedance : callable
        ``exceedance(rain_rate, leads, rates)``: (T_in, H, W) mm/h to (leads, K, H, W).
    rates : sequence of float
        Those of the mean when it is called, mm/h.
    """

    def __init__(self, exceedance: Callable[[Rain, int, Sequence[float]], Exceedance], rates: Sequence[float]) -> None:
        self.exceedance, self.rates = exceedance, rates

    def __call__(self, rain_rate: Rain, leads: int) -> Rain:
        """Forecast the mean (leads, H, W) mm/h from (T_in, H, W) mm/h."""
        return self.distribution(rain_rate, leads, self.rates).fields["mean"]

    def distribution(self, rain_rate: Rain, leads: int, rates: Sequence[float]) -> Distribution:
        """Forecast the probabilities of ``rates``, mm/h, and their mean."""
        exceedance = self.exceedance(rain_rate, leads, rates)
        return Distribution(exceedance, {"mean": fields.mean(exceedance, rates)})


def lagrangian_probability(*, pixel_m: float, step_s: int, rates: Sequence[float]) -> ExceedanceForecaster:
    """Return pysteps' Lagrangian probability forecast: shares of a disc that grows by 1 km a minute of lead time.

    References
    ----------
    Germann and Zawadzki 2004, doi:10.1175/1520-0450(2004)043<0074:SDOTPO>2.0.CO;2.
    """
    with redirect_stdout(None):  # it prints where its configuration lies
        from pysteps.nowcasts.lagrangian_probability import forecast

    slope = step_s / 60 / (pixel_m / 1000)  # pixels a step

    def exceedance(rain_rate: Rain, leads: int, rates: Sequence[float]) -> Exceedance:
        newest = rain_rate[-1].astype(np.float64)
        if not np.isfinite(newest).any():
            return np.full((leads, len(rates), *newest.shape), np.nan, np.float32)
        velocity, known = lucas_kanade(rain_rate), {"allow_nonfinite_values": True}
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is known
            of_rates = [forecast(newest, velocity, leads, rate, extrap_kwargs=known, slope=slope) for rate in rates]
        return np.stack(of_rates, axis=1, dtype=np.float32)

    return ExceedanceForecaster(exceedance, rates)


def neighbourhood(*, pixel_m: float, rates: Sequence[float]) -> ExceedanceForecaster:
    """Return the share of a square of `SIDE_KM` around each pixel of the extrapolated frame, at every lead time alike.

    References
    ----------
    Theis et al. 2005, doi:10.1017/S1350482705001763.
    """
    side = 2 * round(SIDE_KM * 1000 / pixel_m / 2 - 0.5) + 1  # odd

    def exceedance(rain_rate: Rain, leads: int, rates: Sequence[float]) -> Exceedance:
        result = np.empty((leads, len(rates), *rain_rate.shape[1:]), np.float32)
        for of_lead, field in zip(result, extrapolation(rain_rate, leads), strict=True):
            known = np.isfinite(field)
            pixels = np.where(known, _sum(known, side), np.nan)
            for number, rate in enumerate(rates):
                of_lead[number] = _sum(field >= rate, side) / pixels
        return result

    return ExceedanceForecaster(exceedance, rates)


def climatology(of: Climatology) -> ExceedanceForecaster:
    """Return the forecaster that says the same everywhere and always, and nothing where rain would come from outside.

    It raises UserError when it is asked for a rate that the climatology hasn't.
    """
    share = dict(zip(of.rates, of.exceedance, strict=True))

    def exceedance(rain_rate: Rain, leads: int, rates: Sequence[float]) -> Exceedance:
        if unknown := [rate for rate in rates if rate not in share]:
            raise UserError(f"the climatology has no rain rate of {unknown[0]:g} mm/h: run the stage index again")
        newest = rain_rate[-1]
        moved = lagrangian.advect(np.repeat(newest[None], leads, axis=0), lagrangian.motion(rain_rate))
        known = np.isfinite(moved) & np.isfinite(newest)
        shares = np.array([share[rate] for rate in rates], np.float32)[:, None, None]
        return np.where(known[:, None], shares, np.float32(np.nan))

    return ExceedanceForecaster(exceedance, of.rates)


def _sum(pixels: np.ndarray, side: int) -> np.ndarray:
    return cv2.boxFilter(pixels.astype(np.float32), -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
