"""Scores of probabilities: those of `scores` and pysteps on the same pixels, pooled over forecasts."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
import scores.probability
import xarray as xr
from pysteps.verification.probscores import reldiag_accum, reldiag_compute, reldiag_init

from pipelines.common.errors import UserError
from pipelines.verification.bootstrap import intervals, mean_score, paired_difference
from pipelines.verification.probabilities import (
    BINS,
    BRIER_SKILL,
    CRPS,
    CRPS_FAIR,
    EDGES,
    PROBABILITY_SUMS,
    crps,
    probability_headline,
    probability_scores,
    reliability,
    score_probabilities,
    with_reference,
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
        issued(score_probabilities(p, o, mask, RATES, minutes=MINUTES, members=members), number)
        for number, (p, o, mask) in enumerate(zip(exceedance, observed, MASK, strict=True))
    )


def issued(sums: pd.DataFrame, number: int = 0) -> pd.DataFrame:
    """Sums with a forecast's event and time of issue: each is a block of its own."""
    return sums.assign(event=number, time=pd.Timestamp(2024, 6, number + 1))


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
    sums = issued(score_probabilities(shares, seen, np.ones_like(seen, bool), rates, minutes=[5.0], members=MEMBERS))
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


def test_of_rare_events_roc_area_is_a_lower_bound() -> None:
    p = RNG.beta(0.05, 6, (1, 1, 200, 200)).astype(np.float32)
    observed = np.where(RNG.random(p.shape[1:]) < p[0], 30, 0).astype(np.float32)
    sums = score_probabilities(p, observed, np.ones(observed.shape, bool), [10.0], minutes=[30.0])
    ours = probability_scores(issued(sums))["roc_area"].item()
    said, came = (xr.DataArray(one.ravel(), dims="pixel") for one in (p, observed >= 10))
    thresholds = [0.0, *np.geomspace(1e-6, 1, 200)]
    theirs = scores.probability.roc_curve_data(said, came.astype(float), thresholds)["AUC"].item()
    assert theirs - 0.1 < ours < theirs, "what is said below 0.001 is all one"


def test_reliability_is_that_of_pysteps() -> None:
    table = reliability(sums_of(SHARES))
    p, seen = SHARES[:, :, 1][MASK], OBSERVED[MASK]
    with np.errstate(invalid="ignore"):
        diagram = reldiag_init(1.0, n_bins=BINS)
        diagram["bin_edges"] = np.append(EDGES[:-1] / 1000 - 1e-6, 1 + 1e-6)  # theirs are closed above
        reldiag_accum(diagram, p, seen)
        theirs = reldiag_compute(diagram)
    ours = table.loc[1.0].dropna()
    for column, expected in zip(("said", "came"), np.array(theirs[:2]), strict=True):
        np.testing.assert_allclose(ours[column], expected[np.isfinite(expected)], rtol=1e-6)
    assert table.loc[1.0, "count"].sum() == p.size
    said = table.loc[1.0, "said"].dropna()
    low, high = EDGES[said.index] / 1000, EDGES[said.index + 1] / 1000
    assert (said >= low - 1e-6).all() and (said <= high + 1e-6).all()


def ends_by_hand(value_of: Callable[[list[int]], float]) -> tuple[float, float]:
    """Least and most of a score over all draws of three from three blocks: each is 1 of 27, more than 2.5 %."""
    values = [value_of(list(chosen)) for chosen in product(range(3), repeat=3)]
    return min(values), max(values)


def brier_of(p: np.ndarray, chosen: list[int], lead: int, number: int) -> float:
    mask = MASK[chosen][:, lead]
    came = OBSERVED[chosen][:, lead] >= np.float32(RATES[number])
    return np.square(p[chosen][:, lead, number].astype(float) - came)[mask].mean()


def crps_of(p: np.ndarray, chosen: list[int]) -> float:
    return float(np.mean([np.trapezoid([brier_of(p, chosen, lead, n) for n in range(4)], RATES) for lead in (0, 1)]))


def test_intervals_of_crps_are_those_of_all_draws_by_hand() -> None:
    ours, climatology = sums_of(SHARES, MEMBERS), sums_of(CLIMATOLOGY)
    got = mean_score(ours, CRPS)
    assert (got.value, got.blocks) == (pytest.approx(crps_of(SHARES, [0, 1, 2])), 3)
    assert got.value == pytest.approx(crps(TABLE).mean())
    assert (got.low, got.high) == pytest.approx(ends_by_hand(lambda chosen: crps_of(SHARES, chosen)))
    gain = paired_difference(ours, climatology, CRPS)
    ends = ends_by_hand(lambda chosen: crps_of(SHARES, chosen) - crps_of(CLIMATOLOGY, chosen))
    assert gain.value == pytest.approx(got.value - crps_of(CLIMATOLOGY, [0, 1, 2]))
    assert (gain.low, gain.high) == pytest.approx(ends)
    assert gain.shown and f"{gain:.4f}" == f"{gain.value:+.4f} [{gain.low:+.4f} to {gain.high:+.4f}]"
    assert mean_score(ours, CRPS_FAIR).value == pytest.approx(crps(TABLE, "brier_fair").mean())


def test_intervals_of_skill_draw_the_reference_along() -> None:
    ends, _ = intervals(with_reference(sums_of(SHARES, MEMBERS), sums_of(CLIMATOLOGY)), BRIER_SKILL)
    for (number, rate), (lead, minutes) in product(enumerate(RATES), enumerate(MINUTES)):
        value, low, high = ends[:, number * 2 + lead, 0]
        by_hand = ends_by_hand(
            lambda of, at=(lead, number): 1 - brier_of(SHARES, of, *at) / brier_of(CLIMATOLOGY, of, *at)
        )
        assert value == pytest.approx(TABLE["brier_skill"][rate, minutes])
        assert (low, high) == pytest.approx(by_hand)


def test_bars_of_reliability_reach_from_the_worst_forecast_to_the_best() -> None:
    """Each of three blocks is drawn three times in 1 of 27 draws: the ends are those of one alone."""
    table = reliability(sums_of(SHARES)).loc[2.0]
    for at, row in table[table["count"] > 200].iterrows():
        said = SHARES[:, :, 2]
        mask = MASK & (1000 * said >= EDGES[at] - 1e-3) & ((1000 * said < EDGES[at + 1] - 1e-3) | (at == BINS - 1))
        alone = [(OBSERVED[k] >= 2)[mask[k]].mean() for k in range(3)]
        assert (row["low"], row["high"]) == pytest.approx((min(alone), max(alone)))
        assert (row["count"], row["said"]) == pytest.approx((mask.sum(), said[mask].mean()))


def test_few_scores_have_names() -> None:
    climatology = sums_of(CLIMATOLOGY).assign(minutes=lambda rows: rows["minutes"] * 6)
    of = probability_headline(sums_of(SHARES, MEMBERS).assign(minutes=climatology["minutes"]), climatology)
    names = {"crps"} | {f"crps{fair}_{lead}min" for fair in ("", "_fair") for lead in (30, 60)}
    for rate, lead in product(("0.5", "2"), (30, 60)):
        names |= {f"brier_skill_{rate}mm_{lead}min", f"roc_area_{rate}mm_{lead}min"}
    assert of.keys() == names
    assert of["crps_fair_60min"] == pytest.approx(crps(TABLE, "brier_fair")[10.0])
    assert of["brier_skill_2mm_60min"] == pytest.approx(TABLE["brier_skill"][2.0, 10.0])
    assert probability_headline(sums_of(SHARES)).keys() == {"crps"}  # 5 and 10 minutes; no ensemble, no reference


def test_a_distribution_that_isnt_one_is_refused_where_it_counts() -> None:
    for rate, value, words in (
        (2, np.nan, "at 10 minutes and 2 mm/h: a probability that isn't from 0 to 1"),
        (0, 1.01, "at 10 minutes and 0.5 mm/h: a probability that isn't from 0 to 1"),
        (3, -0.01, "at 10 minutes and 4 mm/h: a probability that isn't from 0 to 1"),
        (1, 0.9, "at 10 minutes and 1 mm/h: more likely than a lower rain rate"),
    ):
        p = np.full((2, 4, 1, 2), 0.5, np.float32)
        p[1, rate, 0, 1] = value
        mask = np.ones((2, 1, 2), bool)
        with pytest.raises(UserError, match=f"^no distribution {words}$"):
            score_probabilities(p, np.zeros((2, 1, 2), np.float32), mask, RATES, minutes=MINUTES)
        mask[1, 0, 1] = False
        sums = score_probabilities(p, np.zeros((2, 1, 2), np.float32), mask, RATES, minutes=MINUTES)
        assert sums["squared_error"].tolist() == [0.5] * 4 + [0.25] * 4


def test_what_never_came_has_no_skill_and_no_area_in_words_of_nan() -> None:
    nothing = np.zeros((2, 4, 20, 30), np.float32)
    sums = issued(score_probabilities(nothing, nothing[:, 0], MASK[0], RATES, minutes=MINUTES))
    table = probability_scores(sums, sums)
    assert (table["brier"] == 0).all() and table[["brier_skill", "roc_area"]].isna().all(axis=None)
    none = score_probabilities(nothing, nothing[:, 0], np.zeros_like(MASK[0]), RATES, minutes=MINUTES)
    assert probability_scores(issued(none))["brier"].isna().all()
    assert [*none.columns][3:] == PROBABILITY_SUMS
