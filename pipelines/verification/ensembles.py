"""What the members of an ensemble got right, as sums that add up, and the scores that follow from them.

As `pipelines.verification.scoring` does for forecasts of a field. How good the shares of members are as probabilities,
`pipelines.verification.probabilities` says; here is what members alone can tell: ranks, spread, spectra.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.radar.frame import DRY, Rain
from pipelines.verification.scoring import FSS_SUMS, SCALES_KM
from pipelines.verification.spatial import (
    WAVELENGTHS_KM,
    WET_AREA_RATIO,
    WET_RATE,
    fss_sums,
    power_column,
    power_columns,
    scale_pixels,
    spectra,
    valid_square,
)

SPECTRA = 4  # members of a lead time whose spectra are taken: they cost more than all else
ENSEMBLE_SUMS = ["pixels", "variance", "squared_error", *FSS_SUMS, *power_columns(("member", "observed"))]


class EnsembleSums:
    """Sums over the members of one forecast, which are added one by one, whichever comes first, member or lead time.

    Parameters
    ----------
    observed : ndarray of shape (leads, H, W), mm/h
    mask : ndarray of shape (leads, H, W)
        The pixels that count; observed is finite there.
    thresholds : sequence of float
        mm/h, of the probabilities whose FSS is taken.
    pixel_m : float
        Size of a pixel, metres.
    minutes : sequence of float
        The lead times.
    """

    def __init__(
        self,
        observed: Rain,
        mask: NDArray[np.bool_],
        thresholds: Sequence[float],
        *,
        pixel_m: float,
        minutes: Sequence[float],
    ) -> None:
        self.thresholds, self.pixel_m, self.minutes = thresholds, pixel_m, minutes
        self.mask, self.observed = mask, _without_drizzle(observed, mask)
        self.square = valid_square(np.logical_and.reduce(mask))
        seen = observed[:, *self.square]
        self.has_spectrum = (seen >= WET_RATE).sum(axis=(1, 2)) >= max(WET_AREA_RATIO * seen[0].size, 1)
        self.observed_power, self.power = spectra(seen, pixel_m), np.zeros((len(mask), len(WAVELENGTHS_KM)))
        self.members = np.zeros(len(mask), int)
        self.below, self.equal = (np.zeros(mask.shape, np.uint16) for _ in range(2))
        self.wet = self.observed >= DRY
        self.error, self.square_error = (np.zeros(mask.shape, np.float32) for _ in range(2))
        self.reached = np.zeros((len(mask), len(thresholds), *mask.shape[1:]), np.uint16)

    def add(self, lead: int, member: Rain) -> None:
        """Add one member (H, W), mm/h, of a lead time's number; raises UserError where it says nothing of a pixel."""
        counts, observed = self.mask[lead], self.observed[lead]
        if not np.isfinite(member[counts]).all():
            raise UserError("no forecast of a member for some pixels that the radar sees")
        rain = _without_drizzle(member, counts)
        if self.members[lead] < SPECTRA and self.has_spectrum[lead]:
            self.power[lead] += spectra(member[None, *self.square], self.pixel_m)[0]
        self.members[lead] += 1
        self.below[lead] += rain < observed
        self.equal[lead] += rain == observed
        self.wet[lead] |= rain >= DRY
        error = rain - observed
        self.error[lead] += error
        self.square_error[lead] += np.square(error)
        for number, threshold in enumerate(self.thresholds):
            self.reached[lead, number] += rain >= threshold

    def table(self, seed: int) -> pd.DataFrame:
        """Return the sums of each lead time and threshold.

        Parameters
        ----------
        seed : int
            Of the ranks of observations that tie with members: each of those is as likely.

        Returns
        -------
        DataFrame
            Columns ``minutes``, ``threshold``, ``members`` and sums over the pixels that count: ``pixels``,
            ``variance`` (unbiased, of the members), ``squared_error`` of their mean, both (mm/h)²; ``rank_0`` to that
            of the number of members, how many of them are below what came, where not all are dry; mean powers of
            members and what came; these are the same in the rows of all thresholds. FSS sums are those of shares of
            members: see :func:`pipelines.verification.spatial.fss_sums`.
        """
        rng, rows = np.random.default_rng(seed), []
        for lead, counts in enumerate(self.mask):
            members = int(self.members[lead])
            below, equal = self.below[lead][counts & self.wet[lead]], self.equal[lead][counts & self.wet[lead]]
            ranks = np.bincount(below + rng.integers(0, equal, endpoint=True), minlength=members + 1)
            error, square = (sums[lead][counts].astype(np.float64) for sums in (self.error, self.square_error))
            of_lead = {
                "minutes": float(self.minutes[lead]),
                "members": members,
                "pixels": counts.sum(),
                "variance": (square - np.square(error) / members).sum() / (members - 1),
                "squared_error": np.square(error / members).sum(),
                **{f"rank_{rank}": count for rank, count in enumerate(ranks)},
            }
            powers = {"member": self.power[lead] / min(members, SPECTRA), "observed": self.observed_power[lead]}
            for name, power in powers.items():
                known = np.where(self.has_spectrum[lead], power, np.nan)
                of_lead |= {power_column(name, at): known[number] for number, at in enumerate(WAVELENGTHS_KM)}
            for number, threshold in enumerate(self.thresholds):
                share = (self.reached[lead, number] / np.float32(members)) * counts
                row = of_lead | {"threshold": float(threshold)}
                for scale in SCALES_KM:
                    sums = fss_sums(share, self.observed[lead] >= threshold, scale_pixels(scale, self.pixel_m))
                    row |= dict(zip((f"fss_{part}_{scale}km" for part in ("error", "reference")), sums, strict=True))
                rows.append(row)
        return pd.DataFrame(rows)


def ensemble_scores(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of all forecasts together, at each threshold and lead time.

    Parameters
    ----------
    sums : DataFrame
        Tables of :meth:`EnsembleSums.table`, of any number of forecasts by as many members each.

    Returns
    -------
    DataFrame
        Index threshold and minutes; columns ``spread`` and ``error`` (mm/h; roots of the means, the spread by
        sqrt((m + 1) / m) larger than of m members, so that it is the error where what came is like a member),
        ``spread_error`` (their ratio), ``outliers`` (share of the ranks beyond all members, over 2 / (m + 1)),
        ``rapsd_ratio_4km`` and the like (power of the members over that of what came), ``fss_8km`` and the like (of
        probabilities); NaN where a score is undefined.

    References
    ----------
    Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1 (spread and error); Schwartz et al. 2010,
    doi:10.1175/2009WAF2222267.1 (FSS of probabilities).
    """
    total = sums.groupby(["threshold", "minutes"])[[*ENSEMBLE_SUMS, *rank_columns(sums)]].sum()
    members = len(rank_columns(sums)) - 1
    ranks = total[rank_columns(sums)]
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt((members + 1) / members * total["variance"] / total["pixels"])
        error = np.sqrt(total["squared_error"] / total["pixels"])
        beyond = (ranks["rank_0"] + ranks[f"rank_{members}"]) / ranks.sum(axis=1)
        scores = {
            "spread": spread,
            "error": error,
            "spread_error": spread / error,
            "outliers": beyond * (members + 1) / 2,
            **{
                f"rapsd_ratio_{at}km": total[power_column("member", at)] / total[power_column("observed", at)]
                for at in WAVELENGTHS_KM
            },
            **{f"fss_{at}km": 1 - total[f"fss_error_{at}km"] / total[f"fss_reference_{at}km"] for at in SCALES_KM},
        }
    return pd.DataFrame(scores).replace([np.inf, -np.inf], np.nan)


def rank_histogram(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of the ranks at each lead time, index minutes, columns 0 to the number of members."""
    one = sums[sums["threshold"] == sums["threshold"].min()]
    ranks = one.groupby("minutes")[rank_columns(sums)].sum().set_axis(range(len(rank_columns(sums))), axis=1)
    return ranks.div(ranks.sum(axis=1), axis=0)


def rank_columns(sums: pd.DataFrame) -> list[str]:
    """Return the names of the columns of ranks, one more than there are members."""
    return [name for name in sums if name.startswith("rank_") and sums[name].notna().any()]


def _without_drizzle(rain: Rain, mask: NDArray[np.bool_]) -> Rain:
    """Rain where it counts and is any."""
    return np.where(mask & (rain >= DRY), rain, np.float32(0))
