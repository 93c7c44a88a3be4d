"""Blocks by hand, and the bootstrap against a small computation of its own."""

import numpy as np
import pandas as pd
import pytest
from sums import LEADS, counts

from pipelines.common.errors import UserError
from pipelines.verification.blocks import number_blocks
from pipelines.verification.bootstrap import Difference, common_forecasts, mean_score, paired_difference
from pipelines.verification.scoring import SUMS


def forecasts(*minutes_of_event: list[int]) -> pd.DataFrame:
    """Issue times, minutes after noon of the event's own day."""
    return pd.DataFrame(
        [
            {"event": event, "time": pd.Timestamp(f"2024-06-{event + 1:02d}T12:00") + pd.Timedelta(minutes=minutes)}
            for event, of_event in enumerate(minutes_of_event)
            for minutes in of_event
        ]
    )


@pytest.mark.parametrize(
    ("minutes", "blocks"),
    [
        ([0], [0]),
        ([0, 30, 60], [0, 0, 0]),
        ([0, 60, 120], [0, 0, 0]),  # two hours: one block
        ([0, 60, 120, 180, 235], [0, 0, 0, 0, 0]),  # four aren't full
        ([0, 60, 119, 120, 180, 240], [0, 0, 0, 1, 1, 1]),
        ([0, 149, 150, 300], [0, 0, 1, 1]),  # five hours: two blocks of two and a half
    ],
)
def test_blocks_by_hand(minutes: list[int], blocks: list[int]) -> None:
    assert number_blocks(forecasts(minutes)).tolist() == blocks


def test_each_event_has_blocks_of_its_own() -> None:
    assert number_blocks(forecasts([0, 240], [0], [0, 100])).tolist() == [0, 1, 2, 3, 3]


def sums(issued: pd.DataFrame, hits: list[int], misses: list[int]) -> pd.DataFrame:
    """Sums of one threshold and lead time."""
    zeros = pd.DataFrame(0.0, index=issued.index, columns=SUMS)
    counts = {"hits": hits, "misses": misses, "correct_negatives": 50, "threshold": 1.0, "minutes": 60.0}
    return issued.join(zeros).assign(**counts)


def test_interval_is_that_of_drawing_blocks_one_by_one() -> None:
    rng = np.random.default_rng(5)
    issued = forecasts(*[[0, 60]] * 12)
    observed = rng.integers(20, 60, len(issued))
    hits_a = rng.binomial(observed, 0.6)
    hits_b = rng.binomial(hits_a, 0.9)
    a, b = (sums(issued, hits, observed - hits) for hits in (hits_a, hits_b))
    got = paired_difference(a, b, draws=4000)
    assert got.blocks == 12
    assert got.value == pytest.approx((hits_a.sum() - hits_b.sum()) / observed.sum())

    # Without false alarms CSI is hits over observed events; a block is the two forecasts of an event.
    of_block = [of.reshape(12, 2).sum(axis=1) for of in (hits_a, hits_b, observed)]
    drawn = []
    for _ in range(4000):
        chosen = rng.integers(0, 12, 12)
        one, other, both = (of[chosen].sum() for of in of_block)
        drawn.append((one - other) / both)
    low, high = np.percentile(drawn, [2.5, 97.5])
    width = high - low
    assert got.low == pytest.approx(low, abs=0.1 * width)
    assert got.high == pytest.approx(high, abs=0.1 * width)
    assert got == paired_difference(a.sample(frac=1, random_state=0), b, draws=4000)  # in any order


def test_the_interval_of_one_method_reaches_from_its_worst_block_to_its_best() -> None:
    """Of two blocks a quarter of the draws are of one alone, and a quarter of the other."""
    a = sums(forecasts([0], [0]), [30, 10], [10, 10])
    got = mean_score(a)
    assert (got.value, got.low, got.high, got.blocks) == (pytest.approx(40 / 60), 0.5, 0.75, 2)
    alone = mean_score(sums(forecasts([0]), [30], [10]))
    assert (alone.value, alone.blocks, np.isnan(alone.low), np.isnan(alone.high)) == (0.75, 1, True, True)


def test_a_method_against_itself_shows_no_difference() -> None:
    a = sums(forecasts([0], [0], [0]), [5, 10, 0], [5, 3, 8])
    got = paired_difference(a, a)
    assert (got.value, got.low, got.high, got.blocks, got.shown) == (0, 0, 0, 3, False)
    assert str(got) == "+0.000 [+0.000 to +0.000], no difference shown"


def test_dry_blocks_count_and_break_nothing() -> None:
    issued = forecasts([0], [0], [0])
    a, b = sums(issued, [5, 0, 0], [5, 0, 0]), sums(issued, [2, 0, 0], [8, 0, 0])
    got = paired_difference(a, b)
    assert (got.value, got.blocks) == (pytest.approx(0.3), 3)
    assert (got.low, got.high) == (pytest.approx(0.3), pytest.approx(0.3))  # of the draws with the wet one in them
    dry = sums(issued, [0] * 3, [0] * 3)
    assert str(paired_difference(dry, dry)) == "undefined"


def test_one_block_gives_no_interval() -> None:
    issued = forecasts([0, 30])
    got = paired_difference(sums(issued, [5, 5], [5, 5]), sums(issued, [4, 4], [6, 6]))
    assert str(got) == "+0.100, no interval from 1 block(s)"
    assert not got.shown


def test_other_forecasts_are_refused() -> None:
    one, other = (sums(forecasts(times), [1] * 2, [1] * 2) for times in ([0, 60], [0, 65]))
    with pytest.raises(UserError, match=r"^not the same forecasts: "):
        paired_difference(one, other)


@pytest.mark.parametrize(("low", "high", "shown"), [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.2, False)])
def test_shown_is_an_interval_without_zero(low: float, high: float, shown: bool) -> None:
    assert Difference(0.0, low, high, 9).shown is shown


def test_only_forecasts_that_all_methods_have_are_compared() -> None:
    three = pd.concat([counts(1, 30, 10), counts(1, 20, 20, hour=3), counts(2, 10, 10)])
    two = pd.concat([counts(2, 5, 5), counts(1, 0, 40, hour=3)])
    kept, notes = common_forecasts({"three": three, "two": two})
    for sums in kept.values():
        assert set(sums["time"].unique()) == {pd.Timestamp("2024-06-01T03:00"), pd.Timestamp("2024-06-02T00:00")}
        assert len(sums) == 2 * 2 * LEADS
    assert notes == ["1 forecasts that not every method has are left out."]
    assert common_forecasts({"three": three})[1] == []
    with pytest.raises(UserError, match=r"^no forecast that all of one, other have$"):
        common_forecasts({"one": counts(1, 1, 1), "other": counts(2, 1, 1)})
