"""What came of what was said to be likely and unlikely: by hand, and its interval against draws of our own."""

import numpy as np
import pandas as pd
import pytest

from pipelines.verification.odds import odds_by_class
from pipelines.verification.probabilities import score_probabilities


def sums(pixels: list[tuple[float, int, int]], block: int = 0) -> pd.DataFrame:
    """Sums at 1 mm/h of pixels: a probability, of how many, and at how many of them it came."""
    p = np.concatenate([np.full(count, one, np.float32) for one, count, _ in pixels])
    came = np.concatenate([np.arange(count) < came for _, count, came in pixels]).astype(np.float32)
    table = score_probabilities(
        p[None, None, None], came[None, None], np.ones((1, 1, p.size), bool), [1.0], minutes=[5]
    )
    return table.assign(event=0, time=pd.Timestamp("2024-06-01") + pd.Timedelta(6 * block, "h"))


def test_shares_and_odds_are_those_by_hand() -> None:
    table = odds_by_class(sums([(0.2, 100, 40), (0.499, 100, 20), (0.5, 30, 10), (0.9, 20, 20)]))
    unlikely, likely = table.loc[(1.0, "unlikely")], table.loc[(1.0, "likely")]
    assert (unlikely["said"], unlikely["came"]) == (pytest.approx(0.3495), pytest.approx(0.3))
    assert (likely["said"], likely["came"]) == (pytest.approx(33 / 50), pytest.approx(0.6))
    # Odds of 60 that came to 140 that didn't, over 69.9 to 130.1; half a pixel more of each.
    assert unlikely["odds"] == pytest.approx(60.5 / 140.5 / (70.4 / 130.6), rel=1e-5)
    assert likely["odds"] == pytest.approx(30.5 / 20.5 / (33.5 / 17.5), rel=1e-5)
    assert np.isnan(table[["low", "high"]]).all(axis=None), "one block has no interval"
    assert (table["times"] == 1).all()


def test_what_never_came_and_what_was_never_said_have_odds() -> None:
    table = odds_by_class(sums([(0.3, 100, 0)]))
    assert table.loc[(1.0, "unlikely"), "odds"] == pytest.approx(0.5 / 100.5 / (30.5 / 70.5), rel=1e-5)
    assert table.loc[(1.0, "likely"), ["odds", "times"]].tolist() == [1, 0]
    assert table.loc[(1.0, "unlikely"), "times"] == 0, "that it never came"
    assert odds_by_class(sums([(0.6, 100, 0), (0.1, 50, 1)]))["times"].tolist() == [1, 1], "it was likely; and one came"


def test_the_interval_is_of_blocks() -> None:
    rng = np.random.default_rng(5)
    came = rng.integers(5, 60, 14)
    tables = [sums([(0.2, 100, int(one))], block) for block, one in enumerate(came)]
    row = odds_by_class(pd.concat(tables)).loc[(1.0, "unlikely")]
    drawn = came[rng.integers(0, 14, (4000, 14))].sum(axis=1)
    odds = (drawn + 0.5) * (1120 + 0.5) / ((280 + 0.5) * (1400 - drawn + 0.5))
    assert row["odds"] == pytest.approx((came.sum() + 0.5) * 1120.5 / (280.5 * (1400.5 - came.sum())), rel=1e-5)
    assert [row["low"], row["high"]] == pytest.approx(np.percentile(odds, [2.5, 97.5]), rel=0.03)
    same = odds_by_class(pd.concat([sums([(0.2, 100, 30)], block) for block in range(14)])).loc[(1.0, "unlikely")]
    assert same["low"] == same["high"] == pytest.approx(same["odds"]) and same["times"] == 14
