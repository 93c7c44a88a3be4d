"""Rolling skill: pooled as by hand, of models alone, and an alarm where extrapolation is better."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ledger_rows import GOOD, POOR, cycle

from pipelines.operation.ledger import append, read_ledger
from pipelines.operation.skill import CYCLES, below_extrapolation, headlines, skill

MODEL = ("radar-nowcast", "3", "scs")


def test_skill_is_pooled_over_cycles_and_then_the_mean_over_lead_times() -> None:
    ledger = pd.concat([cycle(0, GOOD), cycle(1, GOOD | {"issued": 18}), cycle(2, POOR, version="4")])
    table = skill(ledger)
    # CSI of each lead time: hits / (hits + misses + false alarms), of both cycles together
    wanted = np.mean([(12 + 18) / 48, (10 + 16) / 48])
    issued = table.loc[(*MODEL, "issued")]
    assert issued["csi"] == pytest.approx(wanted)
    assert issued["pod"] == pytest.approx(np.mean([30 / 40, 26 / 40]))
    assert issued["far"] == pytest.approx(np.mean([8 / 38, 8 / 34]))
    assert issued["bias"] == pytest.approx(np.mean([38 / 40, 34 / 40]))
    assert (issued["fss_8km"], issued["mae"], issued["cycles"]) == (0.75, 0.5, 2)
    assert table.loc[("radar-nowcast", "4", "scs", "issued"), "cycles"] == 1
    named = headlines(ledger, MODEL)
    assert named["issued_csi"] == pytest.approx(wanted) and named["cycles"] == 2
    assert {"extrapolation_fss_8km", "persistence_mae"} <= named.keys() and len(named) == 3 * 6 + 1


def test_fallbacks_and_gaps_are_no_models_skill() -> None:
    wanted = skill(cycle(0, GOOD))
    told = pd.concat([cycle(0, GOOD), cycle(1, POOR, fallback=True), cycle(2, POOR, gap="no frame of this time")])
    pd.testing.assert_frame_equal(skill(told), wanted)
    assert skill(pd.DataFrame()).empty and skill(cycle(1, POOR, fallback=True)).empty


def test_the_alarm_is_of_the_newest_model_and_of_enough_cycles() -> None:
    poor = [cycle(number, POOR) for number in range(CYCLES)]
    assert below_extrapolation(pd.DataFrame()) is None
    assert below_extrapolation(pd.concat(poor[1:])) is None
    csi, other = np.mean([9 / 24, 7 / 24]), np.mean([10 / 24, 8 / 24])
    assert below_extrapolation(pd.concat(poor)) == (
        f"radar-nowcast version 3 (scs): mean CSI {csi:.4f} over {CYCLES} cycles, below extrapolation's {other:.4f}"
    )
    assert below_extrapolation(pd.concat([cycle(number, GOOD) for number in range(CYCLES)])) is None
    same = GOOD | {"issued": GOOD["extrapolation"]}
    assert below_extrapolation(pd.concat([cycle(number, same) for number in range(CYCLES)])) is None
    # A new champion isn't blamed for the one before.
    assert below_extrapolation(pd.concat([*poor, cycle(CYCLES, GOOD, version="4")])) is None


def test_where_it_rains_nowhere_nothing_is_said() -> None:
    ledger = pd.concat([cycle(number, POOR) for number in range(CYCLES)])
    ledger[["hits", "misses", "false_alarms"]] = 0.0
    assert below_extrapolation(ledger) is None and np.isnan(skill(ledger)["csi"]).all()


def test_the_ledger_gives_the_days_that_are_asked_for(tmp_path: Path) -> None:
    for number in (0, 20, 30, 50):
        append(tmp_path, np.datetime64("2024-06-01T00:00:00") + np.timedelta64(number, "h"), cycle(number, GOOD))
    assert read_ledger(tmp_path / "nothing").empty
    since = read_ledger(tmp_path, since=np.datetime64("2024-06-01T20:00:00"))
    assert sorted(since["reference_time"].unique()) == [np.datetime64("2024-06-02T06"), np.datetime64("2024-06-03T02")]
    until = read_ledger(tmp_path, until=np.datetime64("2024-06-01T20:00:00"))
    assert len(until) == 2 * len(cycle(0, GOOD))
