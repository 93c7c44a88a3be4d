"""The alarm of reliability: where what comes is surely not what is said, and nowhere else."""

import numpy as np
import pandas as pd
import pytest
from ledger_rows import said_and_came

from pipelines.operation.reliability import BLOCKS, drift, reliability

NONE = pd.DataFrame()


def week(classes: dict[float, float], blocks: int = BLOCKS, **more: object) -> pd.DataFrame:
    """A cycle in each six hours."""
    return pd.concat([said_and_came(6 * number, classes, **more) for number in range(blocks)])


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({0.1: 0.1, 0.8: 0.8}, None),
        ({0.1: 0.15, 0.8: 0.7}, None),  # off, by less than a factor of two
        ({0.1: 0.3, 0.8: 0.8}, "unlikely"),
        ({0.1: 0.03, 0.8: 0.8}, "unlikely"),
        ({0.1: 0.1, 0.9: 0.6}, "likely"),
        ({0.1: 0.15, 0.6: 0.9}, "likely"),
        ({0.1: 0.1, 0.6: 0.0}, "likely"),
        ({0.1: 0.0, 0.8: 0.8}, None),  # a storm that could have come, and didn't
    ],
)
def test_the_alarm_is_of_odds_off_by_two(classes: dict[float, float], words: str | None) -> None:
    said = drift(week(classes), NONE)
    assert (said is None) == (words is None)
    if said is not None:
        start = f"radar-nowcast version 3 (scs): where rainfall_flux of at least 2 mm/h was {words}, "
        assert said.startswith(start) and "\n" not in said
    assert drift(week(classes, BLOCKS - 1), NONE) is None, "too few to say so"


def test_the_words_have_the_numbers() -> None:
    assert drift(week({0.1: 0.3}), NONE) == (
        "radar-nowcast version 3 (scs): where rainfall_flux of at least 2 mm/h was unlikely, 10.00% was said and "
        "30.00% came: 3.9 [3.9 to 3.9] times the odds, over 8 blocks of 6h"
    )


def test_one_bad_day_of_a_good_week_is_no_drift() -> None:
    good = [said_and_came(6 * number, {0.1: 0.1}) for number in range(24)]
    bad = [said_and_came(6 * number, {0.1: 0.9}) for number in range(24, 28)]
    table = next(reliability(pd.concat([*good, *bad]), NONE)).table.loc[(2.0, "unlikely")]
    assert table["odds"] > 2 and table["low"] < 2  # 0.21 came: 2.4 times the odds
    assert drift(pd.concat([*good, *bad]), NONE) is None


def test_cycles_of_the_same_hours_are_one_block() -> None:
    hourly = pd.concat([said_and_came(number, {0.1: 0.5}) for number in range(6 * BLOCKS - 6)])
    assert drift(hourly, NONE) is None
    assert "over 8 blocks" in str(drift(pd.concat([hourly, said_and_came(6 * BLOCKS - 1, {0.1: 0.5})]), NONE))


def test_a_new_model_isn_t_blamed_for_the_one_before_nor_for_a_fallback() -> None:
    old = week({0.1: 0.5})
    assert drift(old, NONE) and drift(NONE, NONE) is None
    new = said_and_came(6 * BLOCKS, {0.1: 0.5}, version="4")
    assert drift(pd.concat([old, new]), NONE) is None
    assert drift(old.assign(fallback=True), NONE) is None


def test_members_are_judged_where_they_are_enough_and_the_worst_is_told() -> None:
    members = week({0.1: 0.3}, quantity="rainfall_amount_60min").assign(members=24.0)
    others = week({0.1: 0.6}, quantity="region_rainfall_flux").assign(members=24.0)
    assert "region_rainfall_flux of at least 2" in str(drift(NONE, pd.concat([members, others])))
    assert "rainfall_amount_60min of at least 2 mm was" in str(drift(week({0.1: 0.1}), members))
    assert drift(NONE, members.assign(members=10.0)) is None
    gaps = members.assign(gap="these are other areas", threshold=np.nan)
    assert drift(NONE, pd.concat([gaps, week({0.1: 0.1}, quantity="rainfall_amount_60min")])) is None
