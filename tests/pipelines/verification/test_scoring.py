"""Counts and scores: by hand, against pysteps' own, and where nothing is defined."""

import warnings
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.radar.frame import Rain
from pipelines.verification.scoring import COUNTS, SUMS, headline, mean_csi, score_forecast, scores_of

CATEGORICAL = ["csi", "pod", "far", "ets", "hss", "bias"]


def score(
    forecast: Rain, observed: Rain, mask: NDArray[np.bool_], thresholds: list[float], *, step_min: float = 5.0
) -> pd.DataFrame:
    """Sums of a forecast on a grid of 1 km."""
    minutes = [step_min * (lead + 1) for lead in range(len(forecast))]
    return score_forecast(forecast, observed, mask, thresholds, pixel_m=1000.0, minutes=minutes)


def counted(table: pd.DataFrame, minutes: float, threshold: float) -> list[int]:
    """Hits, false alarms, misses and correct negatives of a lead time and threshold."""
    (row,) = table[(table["minutes"] == minutes) & (table["threshold"] == threshold)].itertuples()
    return [row.hits, row.false_alarms, row.misses, row.correct_negatives]


def test_counts_by_hand() -> None:
    #                      hit  false miss    dry  hit  masked  just  below miss
    forecast = np.array([[[2.0, 1.5, 0.0], [0.0, 9.0, 7.0], [1.0, 0.9, 0.5]]], np.float32)
    observed = np.array([[[1.0, 0.2, 3.0], [0.0, 4.0, np.nan], [1.0, 0.0, 1.1]]], np.float32)
    table = score(forecast, observed, np.isfinite(observed), [1.0, 5.0])
    assert counted(table, 5, 1.0) == [3, 1, 2, 2]
    assert counted(table, 5, 5.0) == [0, 1, 0, 7]
    errors = np.array([1, 1.3, -3, 0, 5, 0, 0.9, -0.6])
    assert table["error"].tolist() == pytest.approx([errors.sum()] * 2)
    assert table["absolute_error"].tolist() == pytest.approx([np.abs(errors).sum()] * 2)
    assert table["squared_error"].tolist() == pytest.approx([np.square(errors).sum()] * 2)
    scores = scores_of(table, ["threshold", "minutes"]).loc[(1.0, 5.0)]
    chance = 4 * 5 / 8  # hits of a forecast as frequent that knows nothing
    expected = {
        "csi": 3 / 6,
        "pod": 3 / 5,
        "far": 1 / 4,
        "bias": 4 / 5,
        "ets": (3 - chance) / (6 - chance),
        "hss": 2 * (3 * 2 - 1 * 2) / ((3 + 2) * (2 + 2) + (3 + 1) * (1 + 2)),
        "me": errors.mean(),
        "mae": np.abs(errors).mean(),
        "rmse": np.sqrt(np.square(errors).mean()),
    }
    assert scores[list(expected)].to_dict() == pytest.approx(expected)


def test_counts_add_up_over_lead_times_and_events() -> None:
    rng = np.random.default_rng(0)
    forecast, observed = rng.gamma(0.5, 2.0, (2, 3, 20, 30)).astype(np.float32)
    mask = rng.random(forecast.shape) < 0.7
    table = score(forecast, observed, mask, [0.5, 2.0])
    assert table["minutes"].tolist() == [5, 10, 15] * 2
    np.testing.assert_array_equal(table[list(COUNTS)].sum(axis=1), np.tile(mask.sum(axis=(1, 2)), 2))
    for lead in range(3):
        alone = score(*(of_all[lead : lead + 1] for of_all in (forecast, observed, mask)), [0.5, 2.0])
        assert counted(alone, 5, 2.0) == counted(table, 5 * (lead + 1), 2.0)
    twice = scores_of(pd.concat([table.assign(event=1), table.assign(event=2)]), ["threshold", "minutes"])
    pd.testing.assert_frame_equal(twice, scores_of(table, ["threshold", "minutes"]))


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0, 5.0])
def test_scores_are_pysteps(threshold: float) -> None:
    with redirect_stdout(None):
        from pysteps.verification import det_cat_fct, det_cont_fct

    rng = np.random.default_rng(int(threshold * 10))
    observed = rng.gamma(0.5, 3.0, (4, 50, 60)).astype(np.float32)
    forecast = (observed * rng.lognormal(0, 0.7, observed.shape)).astype(np.float32)
    mask = rng.random(observed.shape) < 0.8
    categories = det_cat_fct(forecast[mask], observed[mask], threshold, [name.upper() for name in CATEGORICAL])
    errors = det_cont_fct(forecast[mask].astype(float), observed[mask].astype(float), ["MAE", "RMSE", "ME"])
    ours = scores_of(score(forecast, observed, mask, [threshold]), ["threshold"]).loc[threshold]
    for name, theirs in (categories | errors).items():
        assert ours[name.lower()] == pytest.approx(theirs, abs=1e-4)


def test_a_dry_forecast_beside_a_wet_one_changes_what_it_must_and_no_more() -> None:
    """Dry windows count: more correct negatives, smaller errors a pixel; no other score changes."""
    rng = np.random.default_rng(3)
    forecast, observed = rng.gamma(0.5, 2.0, (2, 1, 64, 64)).astype(np.float32)
    mask = np.ones_like(forecast, bool)
    wet, dry = score(forecast, observed, mask, [1.0]), score(forecast * 0, observed * 0, mask, [1.0])
    alone, both = (scores_of(table, ["threshold"]).loc[1.0] for table in (wet, pd.concat([wet, dry])))
    for name in ("csi", "pod", "far", "bias", "fss_2km", "fss_8km", "fss_32km", "rapsd_error"):
        assert both[name] == pytest.approx(alone[name])
    assert both["mae"] == pytest.approx(alone["mae"] / 2)
    assert both["rmse"] == pytest.approx(alone["rmse"] / np.sqrt(2))


def row_of(counts: tuple[int, int, int, int], **more: float) -> dict[str, float]:
    """A row of sums; hits, false alarms, misses, correct negatives, and zeros but for what is given."""
    return dict.fromkeys(SUMS, 0.0) | dict(zip(COUNTS, counts, strict=True)) | {"threshold": 1.0, "minutes": 5.0} | more


@given(st.tuples(*[st.integers(0, 50)] * 4), st.integers(2, 5))
@example((0, 0, 0, 31), 3)  # HSS is 0/0, and 1/93 of 93² isn't 93
def test_pooling_a_table_with_itself_changes_no_score(counts: tuple[int, int, int, int], times: int) -> None:
    row = row_of(counts, absolute_error=3.0)
    once, often = (scores_of(pd.DataFrame([row] * n), ["threshold", "minutes"]) for n in (1, times))
    pd.testing.assert_frame_equal(once, often)
    hits, false_alarms, misses, _ = counts
    if hits + false_alarms + misses:
        assert once["csi"].item() == pytest.approx(hits / (hits + false_alarms + misses))
    else:
        assert np.isnan(once["csi"].item())


def test_pooled_is_not_the_mean_over_events() -> None:
    table = pd.DataFrame([row_of((1, 0, 0, 0), event=1), row_of((0, 5, 4, 0), event=2)])
    assert scores_of(table, ["threshold"])["csi"].item() == pytest.approx(0.1)
    assert scores_of(table, ["event", "threshold"])["csi"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("frame", ["dry", "unseen"])
def test_where_nothing_is_to_be_forecast_scores_are_undefined_and_nothing_breaks(frame: str) -> None:
    observed = np.full((2, 50, 60), 0.0 if frame == "dry" else np.nan, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = score(np.zeros_like(observed), observed, np.isfinite(observed), [0.5, 1.0], step_min=30)
        scores = scores_of(table, ["threshold", "minutes"])
        assert np.isnan(mean_csi(table))
        named = headline(table)
    undefined = ["csi", "pod", "far", "bias", "fss_2km", "fss_8km", "fss_32km", "rapsd_error"]
    assert scores[undefined].isna().all(axis=None)
    if frame == "dry":
        assert (scores[["mae", "rmse", "me"]] == 0.0).all(axis=None)
        assert named == {"mae_30min": 0.0, "mae_60min": 0.0}
    else:
        # An error over no pixel is none, not the best one.
        assert scores[["mae", "rmse", "me"]].isna().all(axis=None)
        assert named == {}


def test_a_forecast_of_rain_that_never_comes_has_no_infinite_bias() -> None:
    rain = np.ones((1, 3, 3), np.float32)
    scores = scores_of(score(rain, rain * 0, np.ones_like(rain, bool), [0.5]), ["threshold"]).loc[0.5]
    assert scores[["csi", "far", "fss_2km"]].tolist() == [0.0, 1.0, 0.0]
    assert scores[["pod", "bias"]].isna().all()


def rows(leads: int, step_min: float = 5.0) -> pd.DataFrame:
    """Tables of two thresholds in which CSI is lead/20 for the one, and undefined for the other."""
    return pd.DataFrame(
        [
            row_of((hits, 0, misses, 80), minutes=lead * step_min, threshold=threshold, absolute_error=20.0)
            for lead in range(1, leads + 1)
            for threshold, hits, misses in ((0.5, lead, 20 - lead), (2.0, 0, 0))
        ]
    )


@pytest.mark.parametrize("false_alarms", [0, 3])
def test_mean_csi_is_over_the_same_for_all_methods_where_nothing_was_observed(false_alarms: int) -> None:
    table = rows(12)
    table.loc[table["threshold"] == 2.0, "false_alarms"] = false_alarms
    assert mean_csi(table) == pytest.approx(np.mean(np.arange(1, 13) / 20))


@pytest.mark.parametrize(
    ("leads", "step_min", "named"),
    [
        (12, 5, {"csi_0.5mm_30min": 6 / 20, "csi_0.5mm_60min": 12 / 20}),
        (12, 10, {"csi_0.5mm_30min": 3 / 20, "csi_0.5mm_60min": 6 / 20}),
        (6, 5, {"csi_0.5mm_30min": 6 / 20}),
        (5, 5, {}),
        (8, 7, {}),  # no lead time of 30 or 60 minutes
    ],
)
def test_headline_is_at_half_and_whole_hours(leads: int, step_min: float, named: dict[str, float]) -> None:
    scores = headline(rows(leads, step_min))
    assert {name: score for name, score in scores.items() if name.startswith("csi_0.5mm")} == pytest.approx(named)
    assert scores["csi_mean"] == pytest.approx(mean_csi(rows(leads)))
    assert not any(name.startswith("csi_2mm") for name in scores)
    assert {name for name in scores if name.startswith("mae")} == {f"mae_{name.rpartition('_')[2]}" for name in named}
