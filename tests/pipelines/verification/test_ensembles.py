"""Scores of members: those of pysteps on the same pixels, or by hand."""

import numpy as np
import pandas as pd
import pytest
from pysteps.verification.ensscores import ensemble_spread, rankhist
from scipy.ndimage import uniform_filter

from pipelines.common.errors import UserError
from pipelines.verification.ensembles import EnsembleSums, ensemble_scores, rank_histogram
from pipelines.verification.scoring import score_forecast

MEMBERS, THRESHOLDS, MINUTES = 6, [0.5, 2.0], (5.0, 10.0)
RNG = np.random.default_rng(5)
SHAPE = (2, 2, 64, 70)  # two forecasts, two lead times


def fields(*more: int) -> np.ndarray:
    return RNG.gamma(0.5, 2.0, (*more, *SHAPE)).astype(np.float32)


OBSERVED, ENSEMBLE = fields(), fields(MEMBERS)
MASK = RNG.random(SHAPE) < 0.9
MASK[:, :, 10:40, 20:50] = True


def sums_of(ensemble: np.ndarray, observed: np.ndarray, mask: np.ndarray = MASK) -> pd.DataFrame:
    """Of both forecasts; the second one's lead times come before its members."""
    tables = []
    for number in (0, 1):
        what_came = np.where(mask[number], observed[number], np.nan)
        sums = EnsembleSums(what_came, mask[number], THRESHOLDS, pixel_m=1000.0, minutes=MINUTES)
        order = np.ndindex(len(ensemble), 2) if number else ((m, lead) for lead in (0, 1) for m in range(len(ensemble)))
        for member, lead in order:
            sums.add(lead, np.where(mask[number, lead], ensemble[member, number, lead], np.nan))
        tables.append(sums.table(seed=1))
    return pd.concat(tables)


TABLE = sums_of(ENSEMBLE, OBSERVED)
SCORES = ensemble_scores(TABLE)


def test_spread_and_error_are_those_of_pysteps() -> None:
    for lead, minutes in enumerate(MINUTES):
        seen = MASK[:, lead]
        members, came = ENSEMBLE[:, :, lead].astype(float), OBSERVED[:, lead].astype(float)
        members[members < 0.1], came[came < 0.1] = 0, 0
        of_pairs = ensemble_spread(members[:, seen][:, None], "MSE")  # twice the variance
        ours = SCORES.loc[2.0, minutes]
        assert ours["spread"] == pytest.approx(np.sqrt(7 / 6 * of_pairs / 2), rel=1e-5)
        assert ours["error"] == pytest.approx(np.sqrt(np.square(members.mean(0) - came)[seen].mean()), rel=1e-5)


def test_spread_is_the_error_where_what_came_is_like_a_member() -> None:
    np.testing.assert_allclose(SCORES["spread_error"], 1, atol=0.05)
    assert (ensemble_scores(sums_of(ENSEMBLE, 2 * OBSERVED))["spread_error"] < 0.8).all()


def test_ranks_without_ties_are_those_of_pysteps() -> None:
    ensemble, observed = ENSEMBLE + np.float32(0.2), OBSERVED + np.float32(0.2)
    ours = rank_histogram(sums_of(ensemble, observed))
    for lead, minutes in enumerate(MINUTES):
        seen = MASK[:, lead]
        theirs = rankhist(ensemble[:, :, lead][:, seen], observed[:, lead][seen], X_min=0.1)
        np.testing.assert_allclose(ours.loc[minutes], theirs)


def test_ranks_of_ties_are_drawn_where_not_all_are_dry() -> None:
    sums = sums_of(ENSEMBLE, OBSERVED)
    pd.testing.assert_frame_equal(sums, TABLE)
    wet = (OBSERVED >= 0.1) | (ENSEMBLE >= 0.1).any(axis=0)
    ranks = TABLE[TABLE["threshold"] == 2].filter(like="rank_").sum()
    assert ranks.sum() == (wet & MASK).sum()
    # What came is like a member, so every rank is as likely, and ties are a fourth of all pixels.
    assert np.square(ranks / ranks.mean() - 1).sum() * ranks.mean() < 22.5  # chi-square of 6 at 0.1 %
    np.testing.assert_allclose(SCORES["outliers"], 1, atol=0.1)
    assert ensemble_scores(sums_of(ENSEMBLE, ENSEMBLE[0]))["outliers"].max() < 0.95
    assert ensemble_scores(sums_of(ENSEMBLE, 5 * OBSERVED + 0.2))["outliers"].min() > 1.5


def test_powers_are_the_means_of_what_fields_have() -> None:
    keys, names = ["minutes", "threshold"], [f"power_{at}km" for at in (4, 8)]
    of_members = [
        score_forecast(ENSEMBLE[member, 0], OBSERVED[0], MASK[0], THRESHOLDS, pixel_m=1000.0, minutes=MINUTES)
        for member in range(4)
    ]
    theirs = pd.concat(of_members).groupby(keys).mean()
    ours = TABLE.iloc[:4].set_index(keys)
    for name in names:
        np.testing.assert_allclose(ours[f"member_{name}"], theirs[f"forecast_{name}"], rtol=1e-5)
        np.testing.assert_allclose(ours[f"observed_{name}"], theirs[f"observed_{name}"], rtol=1e-5)
    doubled = ensemble_scores(sums_of(2 * OBSERVED[None].repeat(2, axis=0), OBSERVED))
    np.testing.assert_allclose(doubled["rapsd_ratio_8km"], 4, rtol=1e-5)
    assert doubled["rapsd_ratio_64km"].isna().all()  # longer than half of the square


def test_fss_of_probabilities_by_scipy() -> None:
    for scale in (2, 8):
        error = reference = 0.0
        for number in (0, 1):
            came = MASK[number, 1] & (OBSERVED[number, 1] >= 2)
            share = MASK[number, 1] * (ENSEMBLE[:, number, 1] >= 2).mean(axis=0)
            p, o = (uniform_filter(f.astype(float), scale, mode="constant") for f in (share, came))
            error, reference = error + np.square(p - o).sum(), reference + np.square(p).sum() + np.square(o).sum()
        assert SCORES[f"fss_{scale}km"][2.0, 10.0] == pytest.approx(1 - error / reference, rel=1e-4)


def test_a_dry_forecast_has_no_ranks_and_no_error() -> None:
    dry = sums_of(np.zeros_like(ENSEMBLE), np.zeros_like(OBSERVED))
    scores = ensemble_scores(dry)
    assert (scores["error"] == 0).all()
    assert scores[["spread_error", "outliers", "rapsd_ratio_8km", "fss_8km"]].isna().all(axis=None)


def test_nothing_that_counts_and_a_member_that_says_nothing() -> None:
    nothing = ensemble_scores(sums_of(ENSEMBLE, OBSERVED, np.zeros_like(MASK)))
    assert nothing.isna().all(axis=None)
    sums = EnsembleSums(OBSERVED[0], MASK[0], THRESHOLDS, pixel_m=1000.0, minutes=MINUTES)
    with pytest.raises(UserError, match="no forecast of a member"):
        sums.add(0, np.full(SHAPE[2:], np.nan, np.float32))
