"""S-PROG, STEPS and LINDA, by pysteps: extrapolation that also fades what can't be foreseen."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.common.processes import cores
from pipelines.nowcast.methods.distribution import Distribution, certain
from pipelines.nowcast.methods.extrapolation import extrapolation, lucas_kanade
from pipelines.radar.frame import DRY, Rain

AR_ORDER = 2  # both look at AR_ORDER + 1 frames
CASCADE: dict[str, Any] = {"precip_thr": 10 * np.log10(DRY), "n_cascade_levels": 6, "ar_order": AR_ORDER}
DRY_DECIBELS = -15.0  # what a pixel without rain is in 10·log10(R), below that of DRY
FEWEST_WET = 50  # pixels; from fewer no correlation in time can be estimated

Tell = Callable[[NDArray[np.float64]], None]


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


class PystepsEnsemble:
    """The members of one of pysteps' ensembles as a forecaster: their mean, and the shares of them at each rate.

    Where the mean is extrapolation's (see `PystepsNowcast`), so are the probabilities: 0 and 1.

    Parameters
    ----------
    ensemble : callable
        ``ensemble(decibels, velocity, leads, tell)``: the former three are those of `PystepsNowcast`; at each lead time
        it hands the members, (members, H, W) mm/h with NaN, to ``tell``. All of them at all lead times don't fit into
        memory on a national grid.
    members : int

    Attributes
    ----------
    fell_back : bool
        Whether the last forecast is extrapolation's.
    """

    def __init__(self, ensemble: Callable[..., object], members: int) -> None:
        self.ensemble, self.members, self.fell_back = ensemble, members, False

    def __call__(self, rain_rate: Rain, leads: int) -> Rain:
        """Forecast the mean (leads, H, W) mm/h from (T_in, H, W) mm/h."""
        return self.distribution(rain_rate, leads, ()).fields["mean"]

    def distribution(
        self, rain_rate: Rain, leads: int, rates: Sequence[float], tell: Tell | None = None
    ) -> Distribution:
        """Forecast the shares of the members that reach each of ``rates``, and their mean.

        Who wants the members gives ``tell``: it gets those of lead time after lead time, as far as there are any.
        """
        means, shares = [], []

        def keep(members: NDArray[np.float64]) -> None:
            if tell:
                tell(members)
            means.append(members.mean(axis=0))
            of_rates = [(members >= rate).mean(axis=0) for rate in rates]
            shares.append(np.reshape(of_rates, (len(rates), *members.shape[1:])))

        def nowcast(decibels: NDArray[np.float64], velocity: NDArray[np.float64], leads: int) -> NDArray[np.float64]:
            self.ensemble(decibels, velocity, leads, keep)
            return 10 * np.log10(np.stack(means).clip(DRY / 10))  # dry, where no member rains, and not unknown

        of_mean = PystepsNowcast(nowcast)
        field = of_mean(rain_rate, leads)
        self.fell_back = of_mean.fell_back
        exceedance = certain(field, rates)
        if self.fell_back:
            return Distribution(exceedance, {"mean": field})
        for lead, mean in enumerate(means):
            exceedance[lead] = np.where(np.isfinite(mean), shares[lead], exceedance[lead])
        return Distribution(exceedance, {"mean": field}, self.members)


def steps(*, members: int, seed: int, pixel_m: float, step_s: int) -> PystepsEnsemble:
    """Return a STEPS ensemble: S-PROG with noise of the rain's own spectrum for what fades.

    Parameters
    ----------
    members : int
        Of the ensemble.
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

    def ensemble(decibels: NDArray[np.float64], velocity: NDArray[np.float64], leads: int, tell: Tell) -> None:
        def in_mm_h(members_then: NDArray[np.float64]) -> None:
            rain = np.where(members_then > 10 * np.log10(DRY), 10 ** (members_then / 10), 0.0)
            tell(np.where(np.isfinite(members_then), rain, np.nan))

        forecast(
            decibels,
            velocity,
            leads,
            n_ens_members=members,
            **CASCADE,
            kmperpixel=pixel_m / 1000,
            timestep=step_s / 60,
            seed=seed,  # of each member's own generator: the number of workers changes nothing
            num_workers=min(members, cores()),
            callback=in_mm_h,
            return_output=False,
        )

    return PystepsEnsemble(ensemble, members)


def linda(*, members: int, seed: int, pixel_m: float, step_s: int) -> PystepsEnsemble:
    """Return a LINDA ensemble: cells grow and fade by an autoregression of their own, and lose shape by a kernel.

    It takes 9 to 14 times as long as :func:`steps`, whose parameters it has.

    References
    ----------
    Pulkkinen et al. 2021, doi:10.1109/TGRS.2021.3079895; pysteps: doi:10.5194/gmd-12-4185-2019.
    """
    with redirect_stdout(None):
        from pysteps.nowcasts.linda import forecast

    def ensemble(decibels: NDArray[np.float64], velocity: NDArray[np.float64], leads: int, tell: Tell) -> None:
        rain = np.where(decibels > DRY_DECIBELS, 10 ** (decibels / 10), 0.0)
        forecast(
            np.where(np.isfinite(decibels), rain, np.nan),
            velocity,
            leads,
            feature_method="shitomasi",  # by OpenCV; the default wants scikit-image
            n_ens_members=members,
            kmperpixel=pixel_m / 1000,
            timestep=step_s / 60,
            seed=seed,
            num_workers=min(members, cores()),
            callback=tell,
            return_output=False,
        )

    return PystepsEnsemble(ensemble, members)
