"""Rain amounts, against sums by hand."""

import numpy as np
import pytest

from pipelines.operation.products.accumulation import amounts


def test_between_instants_rain_changes_evenly() -> None:
    """From 12 mm/h, 0, 6, 6 mm/h after 10, 20, 30 minutes: 1 + 0.5 + 1 mm."""
    rain_rate = np.array([0, 6, 6, 60, 0, 12], np.float32)[:, None, None]
    amount, lasts = amounts(rain_rate, np.full((1, 1), 12, np.float32), 600, 1800, instants=True)
    assert amount.ravel() == pytest.approx([2.5, (33 + 30 + 6) / 6])
    assert lasts.tolist() == [2, 5]


def test_rates_over_intervals_are_added_up() -> None:
    rain_rate = np.array([0, 6, 6, 60, 0, 12], np.float32)[:, None, None]
    amount, lasts = amounts(rain_rate, np.full((1, 1), 1000, np.float32), 600, 3600, instants=False)
    assert amount.ravel() == pytest.approx([14.0])
    assert lasts.tolist() == [5]


@pytest.mark.parametrize("instants", [True, False])
def test_random_rain_is_what_numpy_integrates(instants: bool) -> None:
    rng = np.random.default_rng(1)
    fields = rng.gamma(0.3, 5, (13, 4, 5)).astype(np.float32)
    amount, _ = amounts(fields[1:], fields[0], 300, 1800, instants=instants)
    hours = np.arange(13) / 12
    for period in range(2):
        part = fields[6 * period : 6 * period + 7].astype(float)
        expected = np.trapezoid(part, hours[:7], axis=0) if instants else part[1:].sum(axis=0) / 12
        np.testing.assert_allclose(amount[period], expected, rtol=1e-5)


def test_an_amount_of_which_a_part_is_unknown_is_unknown() -> None:
    rain_rate = np.ones((6, 1, 3), np.float32)
    rain_rate[4, 0, 1] = np.nan
    observed = np.array([[np.nan, 1, 1]], np.float32)
    known, _ = amounts(rain_rate, observed, 300, 1800, instants=True)
    assert np.isnan(known).ravel().tolist() == [True, True, False]
    known, _ = amounts(rain_rate, observed, 300, 1800, instants=False)
    assert np.isnan(known).ravel().tolist() == [False, True, False]


@pytest.mark.parametrize(("step_s", "leads"), [(420, 8), (300, 5), (3600, 2)])
def test_steps_that_don_t_fill_a_period_give_none(step_s: int, leads: int) -> None:
    amount, lasts = amounts(
        np.ones((leads, 2, 3), np.float32), np.ones((2, 3), np.float32), step_s, 1800, instants=True
    )
    assert amount.shape == (0, 2, 3) and lasts.size == 0
