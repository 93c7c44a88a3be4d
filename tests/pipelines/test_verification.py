"""Counts and scores: by hand, against pysteps' own, and where nothing is defined."""

import warnings
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.verification import COUNTS, contingency, headline, mean_csi, pooled

SCORES = ["csi", "pod", "far", "bias", "mae"]


def counted(table: pd.DataFrame, lead: int, threshold: float) -> list[int]:
    """Hits, false alarms, misses and correct negatives of a lead time and threshold."""
    (row,) = table[(table["lead"] == lead) & (table["threshold"] == threshold)].itertuples()
    return [row.hits, row.false_alarms, row.misses, row.correct_negatives]


def test_counts_by_hand() -> None:
    #                      hit  false miss    dry  hit  masked  just  below miss
    forecast = np.array([[[2.0, 1.5, 0.0], [0.0, 9.0, 7.0], [1.0, 0.9, 0.5]]], np.float32)
    observed = np.array([[[1.0, 0.2, 3.0], [0.0, 4.0, np.nan], [1.0, 0.0, 1.1]]], np.float32)
    table = contingency(forecast, observed, np.isfinite(observed), [1.0, 5.0])
    assert table.columns.tolist() == ["lead", "threshold", *COUNTS, "absolute_error"]
    assert counted(table, 1, 1.0) == [3, 1, 2, 2]
    assert counted(table, 1, 5.0) == [0, 1, 0, 7]
    assert table["absolute_error"].tolist() == pytest.approx([1 + 1.3 + 3 + 0 + 5 + 0 + 0.9 + 0.6] * 2)
    scores = pooled(table, ["threshold", "lead"])
    assert scores.loc[(1.0, 1)].to_dict() == pytest.approx(
        {"csi": 3 / 6, "pod": 3 / 5, "far": 1 / 4, "bias": 4 / 5, "mae": 11.8 / 8}
    )


def test_counts_add_up_over_lead_times_and_events() -> None:
    rng = np.random.default_rng(0)
    forecast, observed = rng.gamma(0.5, 2.0, (2, 3, 20, 30)).astype(np.float32)
    mask = rng.random(forecast.shape) < 0.7
    table = contingency(forecast, observed, mask, [0.5, 2.0])
    assert table["lead"].tolist() == [1, 2, 3] * 2
    np.testing.assert_array_equal(table[list(COUNTS)].sum(axis=1), np.tile(mask.sum(axis=(1, 2)), 2))
    for lead in range(3):
        alone = contingency(*(of_all[lead : lead + 1] for of_all in (forecast, observed, mask)), [0.5, 2.0])
        assert counted(alone, 1, 2.0) == counted(table, lead + 1, 2.0)
    twice = pooled(pd.concat([table.assign(event=1), table.assign(event=2)]), ["threshold", "lead"])
    pd.testing.assert_frame_equal(twice, pooled(table, ["threshold", "lead"]))


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0, 5.0])
def test_scores_are_pysteps(threshold: float) -> None:
    with redirect_stdout(None):
        from pysteps.verification import det_cat_fct

    rng = np.random.default_rng(int(threshold * 10))
    observed = rng.gamma(0.5, 3.0, (4, 50, 60))
    forecast = observed * rng.lognormal(0, 0.7, observed.shape)
    mask = rng.random(observed.shape) < 0.8
    theirs = det_cat_fct(forecast[mask], observed[mask], threshold, ["CSI", "POD", "FAR", "BIAS"])
    table = contingency(forecast.astype(np.float32), observed.astype(np.float32), mask, [threshold])
    ours = pooled(table, ["threshold"]).loc[threshold]
    for name in ("csi", "pod", "far", "bias"):
        assert ours[name] == pytest.approx(theirs[name.upper()], abs=1e-4)
    assert ours["mae"] == pytest.approx(np.abs(forecast - observed)[mask].mean(), rel=1e-5)


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.integers(2, 5))
def test_pooling_a_table_with_itself_changes_no_score(counts: list[int], times: int) -> None:
    row = dict(zip(COUNTS, counts, strict=True)) | {"threshold": 1.0, "lead": 1, "absolute_error": 3.0}
    once, often = (pooled(pd.DataFrame([row] * n), ["threshold", "lead"]) for n in (1, times))
    pd.testing.assert_frame_equal(once, often)
    hits, false_alarms, misses, _ = counts
    if hits + false_alarms + misses:
        assert once["csi"].item() == pytest.approx(hits / (hits + false_alarms + misses))
    else:
        assert np.isnan(once["csi"].item())


def test_pooled_is_not_the_mean_over_events() -> None:
    common = {"threshold": 1.0, "lead": 1, "correct_negatives": 0, "absolute_error": 0.0}
    table = pd.DataFrame(
        [
            common | {"event": 1, "hits": 1, "false_alarms": 0, "misses": 0},
            common | {"event": 2, "hits": 0, "false_alarms": 5, "misses": 4},
        ]
    )
    assert pooled(table, ["threshold"])["csi"].item() == pytest.approx(0.1)
    assert pooled(table, ["event", "threshold"])["csi"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("frame", ["dry", "unseen"])
def test_where_nothing_is_to_be_forecast_scores_are_undefined_and_nothing_breaks(frame: str) -> None:
    observed = np.full((2, 5, 6), 0.0 if frame == "dry" else np.nan, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = contingency(np.zeros_like(observed), observed, np.isfinite(observed), [0.5, 1.0])
        scores = pooled(table, ["threshold", "lead"])
        assert np.isnan(mean_csi(table))
        named = headline(table, 1800)
    assert scores[["csi", "pod", "far", "bias"]].isna().all(axis=None)
    if frame == "dry":
        assert (scores["mae"] == 0.0).all()
        assert named == {"mae_30min": 0.0, "mae_60min": 0.0}
    else:
        # An error over no pixel is none, not the best one.
        assert scores["mae"].isna().all()
        assert named == {}


def test_a_forecast_of_rain_that_never_comes_has_no_infinite_bias() -> None:
    rain = np.ones((1, 3, 3), np.float32)
    scores = pooled(contingency(rain, rain * 0, np.ones_like(rain, bool), [0.5]), ["threshold"]).loc[0.5]
    assert scores[["csi", "far"]].tolist() == [0.0, 1.0]
    assert scores[["pod", "bias"]].isna().all()


def rows(leads: int) -> pd.DataFrame:
    """Tables of two thresholds in which CSI is lead/20 for the one, and undefined for the other."""
    of_lead = [
        {"lead": lead, "threshold": threshold, "hits": hits, "misses": misses, "false_alarms": 0}
        for lead in range(1, leads + 1)
        for threshold, hits, misses in ((0.5, lead, 20 - lead), (2.0, 0, 0))
    ]
    return pd.DataFrame(of_lead).assign(correct_negatives=80, absolute_error=20.0)


@pytest.mark.parametrize("false_alarms", [0, 3])
def test_mean_csi_is_over_the_same_for_all_methods_where_nothing_was_observed(false_alarms: int) -> None:
    table = rows(12)
    table.loc[table["threshold"] == 2.0, "false_alarms"] = false_alarms
    assert mean_csi(table) == pytest.approx(np.mean(np.arange(1, 13) / 20))


@pytest.mark.parametrize(
    ("leads", "step_s", "named"),
    [
        (12, 300, {"csi_0.5mm_30min": 6 / 20, "csi_0.5mm_60min": 12 / 20}),
        (12, 600, {"csi_0.5mm_30min": 3 / 20, "csi_0.5mm_60min": 6 / 20}),
        (6, 300, {"csi_0.5mm_30min": 6 / 20}),
        (5, 300, {}),
        (8, 420, {}),  # no lead time of 30 or 60 minutes
    ],
)
def test_headline_is_at_half_and_whole_hours(leads: int, step_s: int, named: dict[str, float]) -> None:
    scores = headline(rows(leads), step_s)
    assert {name: score for name, score in scores.items() if name.startswith("csi_0.5mm")} == pytest.approx(named)
    assert scores["csi_mean"] == pytest.approx(mean_csi(rows(leads)))
    assert not any(name.startswith("csi_2mm") for name in scores)
    assert {name for name in scores if name.startswith("mae")} == {f"mae_{name.rpartition('_')[2]}" for name in named}
