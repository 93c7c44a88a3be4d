"""Rolling skill: pooled as by hand, of models alone, and an alarm where extrapolation is better."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ledger_rows import GOOD, POOR, cycle, probabilities

from pipelines.operation.ledger import append, read_ledger
from pipelines.operation.skill import CYCLES, below_extrapolation, headlines, probability_skill, skill

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
    # What stood in for an input is no fault of the method that all else falls back to.
    assert below_extrapolation(pd.concat(poor).assign(method="extrapolation")) is None
    # A new champion isn't blamed for the one before.
    assert below_extrapolation(pd.concat([*poor, cycle(CYCLES, GOOD, version="4")])) is None


def test_a_probabilistic_models_skill_is_its_crps_and_brier_skill() -> None:
    errors = {"issued": 10.0, "extrapolation": 12.0, "persistence": 18.0}
    with_climate = [probabilities(number, errors | {"climatology": 16.0}) for number in (0, 1)]
    ledger = pd.concat([*with_climate, probabilities(2, errors, version="4")])
    table = probability_skill(ledger)
    # 10 of 100 at 2 and at 5 mm/h: the integral over 3 mm/h of 0.1
    issued = table.loc[(*MODEL, "issued")]
    assert (issued["cycles"], issued["crps"], issued["crps_60min"]) == (2, pytest.approx(0.3), pytest.approx(0.3))
    assert issued["brier_skill_5mm_60min"] == pytest.approx(1 - 10 / 16)
    assert table.loc[(*MODEL, "persistence"), "crps"] == pytest.approx(0.54)
    assert np.isnan(table.loc[("radar-nowcast", "4", "scs", "issued"), "brier_skill_5mm_60min"])
    named = headlines(cycle(0, GOOD), MODEL, ledger)
    assert named["issued_crps_30min"] == pytest.approx(0.3) and named["climatology_crps"] == pytest.approx(0.48)
    assert named["issued_brier_skill_2mm_60min"] == pytest.approx(0.375) and named["cycles"] == 1
    assert headlines(cycle(0, GOOD), MODEL).items() <= named.items()


@pytest.mark.parametrize(("hits", "issued", "alarm"), [(POOR, 10.0, False), (GOOD, 13.0, True), (GOOD, 12.0, False)])
def test_the_alarm_of_a_probabilistic_model_is_by_crps(hits: dict[str, int], issued: float, alarm: bool) -> None:
    fields = pd.concat([cycle(number, hits) for number in range(CYCLES)])
    of = pd.concat([probabilities(n, {"issued": issued, "extrapolation": 12.0}) for n in range(CYCLES)])
    words = f"radar-nowcast version 3 (scs): CRPS 0.3900 mm/h over {CYCLES} cycles, above extrapolation's 0.3600"
    assert below_extrapolation(fields, of) == (words if alarm else None)
    assert below_extrapolation(fields[fields["reference_time"] > fields["reference_time"].min()], of) is None
    dry = fields.assign(hits=0.0, misses=0.0)
    assert below_extrapolation(dry, of) is None, "no rain, no alarm"
    # A version without probabilities is judged as before, whatever the one before it had.
    newer = pd.concat([fields, *(cycle(CYCLES + number, POOR, version="4") for number in range(CYCLES))])
    assert "version 4 (scs): mean CSI" in str(below_extrapolation(newer, of))


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
