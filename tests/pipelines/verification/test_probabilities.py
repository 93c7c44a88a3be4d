"""Scores of probabilities: those of `scores` and pysteps on the same pixels, pooled over forecasts."""

import numpy as np
import pandas as pd
import pytest
import scores.probability
import xarray as xr
from pysteps.verification.probscores import reldiag

from pipelines.verification.probabilities import (
    BINS,
    PROBABILITY_SUMS,
    crps,
    probability_scores,
    reliability,
    score_probabilities,
)

RATES, MINUTES, MEMBERS = [0.5, 1.0, 2.0, 4.0], (5.0, 10.0), 7
RNG = np.random.default_rng(3)
OBSERVED = RNG.gamma(0.6, 2.0, (3, 2, 20, 30)).astype(np.float32)  # three forecasts
ENSEMBLE = (OBSERVED[:, :, None] * RNG.lognormal(0, 0.7, (3, 2, MEMBERS, 20, 30))).astype(np.float32)
MASK = RNG.random((3, 2, 20, 30)) < 0.8
SHARES = (ENSEMBLE[:, :, None] >= np.array(RATES)[:, None, None, None]).mean(axis=3).astype(np.float32)


def sums_of(exceedance: np.ndarray, members: int | None = None) -> pd.DataFrame:
    observed = np.where(MASK, OBSERVED, np.nan)
    return pd.concat(
        score_probabilities(p, o, mask, RATES, minutes=MINUTES, members=members)
        for p, o, mask in zip(exceedance, observed, MASK, strict=True)
    )


CLIMATOLOGY = np.broadcast_to(np.array([0.6, 0.5, 0.3, 0.1], np.float32)[:, None, None], SHARES.shape)
TABLE = probability_scores(sums_of(SHARES, MEMBERS), sums_of(CLIMATOLOGY))


def masked(values: np.ndarray, *dims: str) -> xr.DataArray:
    return xr.DataArray(values, dims=("forecast", "lead", *dims, "y", "x"))


SEEN = masked(np.where(MASK, OBSERVED, np.nan).astype(float))


@pytest.mark.parametrize(("column", "fair"), [("brier", False), ("brier_fair", True)])
def test_brier_scores_of_an_ensemble_are_those_of_scores(column: str, fair: bool) -> None:
    theirs = scores.probability.brier_score_for_ensemble(
        masked(ENSEMBLE.astype(float), "member"), SEEN, "member", RATES, preserve_dims=["lead"], fair_correction=fair
    )
    ours = TABLE[column].unstack("minutes").to_numpy().T
    np.testing.assert_allclose(ours, theirs.transpose("lead", "threshold").to_numpy(), rtol=1e-6)


def test_probabilities_that_are_no_ensembles_have_nothing_to_correct() -> None:
    table = probability_scores(sums_of(SHARES), sums_of(CLIMATOLOGY))
    pd.testing.assert_series_equal(table["brier_fair"], table["brier"], check_names=False)
    for number, rate in enumerate(RATES):
        event = (rate <= SEEN).where(SEEN.notnull())
        theirs = scores.probability.brier_score(masked(SHARES[:, :, number].astype(float)), event, preserve_dims="lead")
        np.testing.assert_allclose(table["brier"].loc[rate], theirs.to_numpy(), rtol=1e-6)


def test_skill_is_against_the_reference_on_the_same_pixels() -> None:
    seen = np.where(MASK, OBSERVED, np.nan)[:, 1]
    seen = seen[np.isfinite(seen)] >= 2.0
    expected = 1 - TABLE["brier"][2.0, 10.0] / np.square(seen - np.float32(0.3)).mean()
    assert TABLE["brier_skill"][2.0, 10.0] == pytest.approx(expected, rel=1e-6)
    assert probability_scores(sums_of(CLIMATOLOGY), sums_of(CLIMATOLOGY))["brier_skill"].eq(0).all()


def test_the_integral_of_brier_scores_is_the_crps_of_scores() -> None:
    rates = np.linspace(0.0, 80.0, 4001)[1:]
    shares = (ENSEMBLE[0, :1, None] >= rates[:, None, None, None]).mean(axis=2).astype(np.float32)
    seen = OBSERVED[0, :1]
    sums = score_probabilities(shares, seen, np.ones_like(seen, bool), rates, minutes=[5.0], members=MEMBERS)
    table = probability_scores(sums, sums)
    for column, method in (("brier", "ecdf"), ("brier_fair", "fair")):
        theirs = scores.probability.crps_for_ensemble(
            xr.DataArray(ENSEMBLE[0, 0].astype(float), dims=("member", "y", "x")),
            xr.DataArray(seen[0].astype(float), dims=("y", "x")),
            "member",
            method=method,
        )
        assert crps(table, column)[5.0] == pytest.approx(float(theirs), rel=0.01)


def test_roc_area_is_that_of_scores() -> None:
    for number, rate in enumerate(RATES):
        event = (rate <= SEEN).where(SEEN.notnull())
        theirs = scores.probability.roc_curve_data(
            masked(SHARES[:, :, number].astype(float)),
            event,
            np.linspace(0, 1, 2 * MEMBERS + 1),
            preserve_dims=["lead"],
        )
        np.testing.assert_allclose(TABLE["roc_area"].loc[rate], theirs["AUC"].to_numpy(), atol=1e-6)


def test_reliability_is_that_of_pysteps() -> None:
    table = reliability(sums_of(SHARES))
    p, seen = SHARES[:, :, 1][MASK], OBSERVED[MASK]
    with np.errstate(invalid="ignore"):
        theirs = reldiag(p, seen, 1.0, n_bins=BINS)
    ours = table.loc[1.0].dropna()
    for column, expected in zip(("said", "came"), np.array(theirs[:2]), strict=True):
        np.testing.assert_allclose(ours[column], expected[np.isfinite(expected)], rtol=1e-6)
    assert table.loc[1.0, "count"].sum() == p.size
    said = table.loc[1.0, "said"].dropna()
    assert (said >= said.index / BINS - 1e-6).all() and (said <= (said.index + 1) / BINS + 1e-6).all()


def test_what_never_came_has_no_skill_and_no_area_in_words_of_nan() -> None:
    nothing = np.zeros((2, 4, 20, 30), np.float32)
    sums = score_probabilities(nothing, nothing[:, 0], MASK[0], RATES, minutes=MINUTES)
    table = probability_scores(sums, sums)
    assert (table["brier"] == 0).all() and table[["brier_skill", "roc_area"]].isna().all(axis=None)
    none = score_probabilities(nothing, nothing[:, 0], np.zeros_like(MASK[0]), RATES, minutes=MINUTES)
    assert probability_scores(none, none)["brier"].isna().all()
    assert [*none.columns][3:] == PROBABILITY_SUMS
