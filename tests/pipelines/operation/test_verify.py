"""Verification of issued forecasts: right scores, once each, whatever comes late, not at all, or is cut off."""

import os
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr
from archive import moving_cells
from domains import domain_in
from issued_files import damage_pixels, write_issued
from scipy.ndimage import uniform_filter
from scores.categorical import BasicContingencyManager, ThresholdEventOperator

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.extrapolation import extrapolation
from pipelines.operation.ledger import LEDGER, PROBABILITIES, append, ledger_file, read_ledger
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.published import published_times, silent_since
from pipelines.operation.verify import close_cycles, unverified
from pipelines.radar.frame import Frame
from pipelines.verification.probabilities import BINS, crps, probability_scores
from pipelines.verification.scoring import COUNTS, SUMS, scores_of

LEADS = 4
FRAMES = moving_cells("2024-06-01T12:00:00", 12)
THRESHOLDS = [0.5, 2.0]
LATER = np.datetime64("2024-06-01T18:00:00")


def time(clock: str) -> np.datetime64:
    return np.datetime64(f"2024-06-01T{clock}:00")


def guess(number: int, seed: int = 0) -> np.ndarray:
    """A forecast from frame `number`: what is observed, moved aside and disturbed."""
    rng = np.random.default_rng(seed)
    rain = np.stack([np.roll(FRAMES[number + k].rain_rate, k, axis=1) for k in range(1, LEADS + 1)])
    return rain * rng.lognormal(0, 0.3, rain.shape).astype(np.float32)


@pytest.fixture
def live(tmp_path: Path) -> LiveStore:
    return LiveStore.of(domain_in(tmp_path))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def close(out: Path, live: LiveStore, now: np.datetime64 = LATER) -> tuple[list[tuple[np.datetime64, int]], list[str]]:
    return close_by(out, live.open(), now)


def close_by(
    out: Path, stored: xr.Dataset, now: np.datetime64 = LATER
) -> tuple[list[tuple[np.datetime64, int]], list[str]]:
    problems: list[str] = []
    return list(close_cycles(domain_in(out.parent), stored, THRESHOLDS, now, problems)), problems


def packed(frame: Frame) -> np.ndarray:
    """As the live store gives it back: steps of 0.01 mm/h."""
    return (np.rint(frame.rain_rate / np.float32(0.01)) * np.float32(0.01)).astype(np.float32)


def by_hand(forecast: np.ndarray, observed: np.ndarray, mask: np.ndarray, threshold: float) -> dict[str, float]:
    """Scores of one lead time by the library `scores` and numpy; pixels of 1 km, so that 8 km are 8 of them."""
    as_array = [xr.DataArray(np.where(mask, field, np.nan), dims=("y", "x")) for field in (forecast, observed)]
    events = ThresholdEventOperator().make_contingency_manager(*as_array, event_threshold=threshold)
    assert isinstance(events, BasicContingencyManager)
    said, seen = (np.where(mask, field >= threshold, False).astype(float) for field in (forecast, observed))
    shares = [uniform_filter(field, 8, mode="constant", origin=0) for field in (said, seen)]
    error = np.square(shares[0] - shares[1]).sum()
    return {
        "csi": float(events.critical_success_index()),
        "pod": float(events.probability_of_detection()),
        "far": float(events.false_alarm_ratio()),
        "bias": float(events.frequency_bias()),
        "mae": float(np.abs(forecast - observed)[mask].mean()),
        "fss_8km": float(1 - error / (np.square(shares[0]).sum() + np.square(shares[1]).sum())),
    }


def test_a_forecast_of_before_there_were_policies_is_scored_too(out: Path, live: LiveStore) -> None:
    live.append(FRAMES)
    with h5py.File(write_issued(out, FRAMES[1:5], guess(4)), "r+") as file:
        for name in ("policy", "fallback", "missing_frames"):
            del file.attrs[name]
    assert close(out, live) == ([(FRAMES[4].time, 0)], [])
    assert not read_ledger(out)["fallback"].any()


def test_a_cycle_is_scored_as_by_hand_against_the_baselines_of_its_own_frames(out: Path, live: LiveStore) -> None:
    with redirect_stdout(None):
        from pysteps.extrapolation.semilagrangian import extrapolate
        from pysteps.motion.lucaskanade import dense_lucaskanade

    live.append(FRAMES)
    issued = guess(4)
    issued[:, 30:34, 30:34] = np.nan  # of what the model doesn't know nothing is counted, for none of the three
    write_issued(out, FRAMES[1:5], issued)
    assert close(out, live) == ([(FRAMES[4].time, 0)], [])

    observed = np.stack([packed(frame) for frame in FRAMES[5:9]])
    newest = np.stack([packed(frame) for frame in FRAMES[2:5]])
    decibels = 10 * np.log10(np.maximum(newest, 0.1))  # DRY, of forecasters
    motion = dense_lucaskanade(np.ma.masked_invalid(decibels))
    moved = extrapolate(newest[-1].astype(float), motion, LEADS, allow_nonfinite_values=True).astype(np.float32)
    forecasts = {"issued": issued, "extrapolation": moved, "persistence": np.repeat(newest[-1:], LEADS, axis=0)}
    mask = np.isfinite(observed) & np.all([np.isfinite(one) for one in forecasts.values()], axis=0)
    assert mask.mean() > 0.8 and not mask.all()

    ledger = read_ledger(out)
    assert len(ledger) == 3 * LEADS * len(THRESHOLDS)
    scores = scores_of(ledger, ["forecaster", "threshold", "minutes"])
    for name, forecast in forecasts.items():
        for lead in range(LEADS):
            for threshold in THRESHOLDS:
                got = scores.loc[(name, threshold, 5.0 * (lead + 1))]
                wanted = by_hand(forecast[lead], observed[lead], mask[lead], threshold)
                assert got[list(wanted)].to_dict() == pytest.approx(wanted, rel=1e-4), (name, lead, threshold)
    assert scores.loc[("extrapolation", 2.0, 20.0), "csi"] > scores.loc[("persistence", 2.0, 20.0), "csi"]
    assert (ledger[list(COUNTS)].sum(axis=1) == np.tile(mask.sum(axis=(1, 2)), 6)).all()

    (row, *_) = ledger.itertuples()
    assert (row.domain, row.model_name, row.model_version, row.method) == ("here", "radar-nowcast", "3", "scs")
    assert not ledger["fallback"].any() and (ledger["gap"] == "").all() and (ledger["scored"] == LATER).all()
    lead_times = pd.to_timedelta(ledger["minutes"], unit="min")
    assert (ledger["reference_time"] == FRAMES[4].time).all()
    assert (ledger["valid_time"] == ledger["reference_time"] + lead_times).all()


def test_probabilities_are_scored_as_by_hand_against_baselines_of_0_and_1_and_climatology(
    out: Path, live: LiveStore
) -> None:
    live.append(FRAMES)
    issued = guess(4)
    issued[:, 30:34, 30:34] = np.nan
    rates, climatology = [0.1, 1.0, 5.0], [0.3, 0.125, 0.0625]
    p = np.stack([np.where(issued >= rate, 0.8, (0.2, 0.1, 0.04)[k]) for k, rate in enumerate(rates)], axis=1)
    p[np.isnan(issued)[:, None].repeat(3, axis=1)] = np.nan
    write_issued(out, FRAMES[1:5], issued, exceedance=(rates, p), climatology=climatology)
    write_issued(out, FRAMES[2:6], guess(5))  # of a model without probabilities
    assert close(out, live) == ([(FRAMES[4].time, 0), (FRAMES[5].time, 0)], [])

    ledger = read_ledger(out, kind=PROBABILITIES)
    assert set(ledger["reference_time"]) == {FRAMES[4].time} and len(ledger) == 4 * LEADS * 3
    assert len(read_ledger(out)) == 2 * 3 * LEADS * len(THRESHOLDS)
    newest = np.stack([packed(frame) for frame in FRAMES[2:5]])
    observed = np.stack([packed(frame) for frame in FRAMES[5:9]])
    fields = {"extrapolation": extrapolation(newest, LEADS), "persistence": np.repeat(newest[-1:], LEADS, axis=0)}
    mask = np.isfinite(observed) & np.isfinite(issued) & np.all([np.isfinite(one) for one in fields.values()], axis=0)
    errors = ledger.set_index(["forecaster", "threshold", "minutes"])
    for k, rate in enumerate(rates):
        for lead in range(LEADS):
            came = (observed[lead] >= rate)[mask[lead]]
            said = {name: (field[lead] >= rate)[mask[lead]].astype(float) for name, field in fields.items()}
            said |= {"issued": p[lead, k][mask[lead]], "climatology": np.full(came.shape, climatology[k])}
            for name, probability in said.items():
                row = errors.loc[(name, rate, 5.0 * (lead + 1))]
                assert row["squared_error"] == pytest.approx(np.square(probability - came).sum(), rel=1e-5)
                assert row[[f"count_{number}" for number in range(BINS)]].sum() == mask[lead].sum()
    # Of a forecast of 0 and 1 the integral of the Brier score is the absolute error between the rates, on their steps.
    crps_of = crps(probability_scores(ledger[ledger["forecaster"] == "persistence"].assign(event=0, time=0)))
    steps = [np.stack([one >= rate for rate in rates]) for one in (fields["persistence"], observed)]
    wrong = (steps[0] != steps[1]).astype(float)
    by_hand = [np.trapezoid(wrong[:, lead][:, mask[lead]].mean(axis=1), rates) for lead in range(LEADS)]
    assert crps_of.to_numpy() == pytest.approx(by_hand)
    (row, *_) = ledger.itertuples()
    assert (row.domain, row.model_version, row.gap, row.fallback) == ("here", "3", "", False)


def test_probabilities_that_can_t_be_read_are_a_problem_for_a_day_and_then_a_gap(out: Path, live: LiveStore) -> None:
    live.append(FRAMES)
    issued = guess(4)
    p = np.random.default_rng(0).random((LEADS, 1, *issued.shape[1:]))
    path = write_issued(out, FRAMES[1:5], issued, exceedance=([1.0], p))
    damage_pixels(path, "rainfall_flux_exceedance_probability")
    closed, (problem,) = close(out, live)
    assert closed == [] and problem.startswith(f"{path}: can't be read")
    assert close(out, live, FRAMES[4].time + np.timedelta64(1, "D")) == ([(FRAMES[4].time, 1)], [])
    assert read_ledger(out)["gap"][0].startswith(f"{path}: can't be read")
    assert read_ledger(out, kind=PROBABILITIES).empty


def test_probabilities_that_are_no_distribution_are_a_problem_for_a_day_and_then_a_gap(
    out: Path, live: LiveStore
) -> None:
    live.append(FRAMES)
    issued = guess(4)
    rising = np.stack([np.full(issued.shape, 0.25), np.full(issued.shape, 0.5)], axis=1)
    path = write_issued(out, FRAMES[1:5], issued, exceedance=([1.0, 2.0], rising))
    words = f"{path}: rainfall_flux: no distribution at 5 minutes and 2 mm/h: more likely than a lower rain rate"
    assert close(out, live) == ([], [words])
    assert close(out, live, FRAMES[4].time + np.timedelta64(1, "D")) == ([(FRAMES[4].time, 1)], [])
    assert read_ledger(out)["gap"].tolist() == [words] and read_ledger(out, kind=PROBABILITIES).empty


def test_a_cycle_is_closed_when_all_is_observed_and_is_then_closed_for_good(out: Path, live: LiveStore) -> None:
    live.append(FRAMES[:8])
    write_issued(out, FRAMES[1:4], guess(3))
    write_issued(out, FRAMES[2:5], guess(4))
    assert close(out, live, time("12:35")) == ([(FRAMES[3].time, 0)], [])
    assert unverified(out) == [FRAMES[4].time]
    path = ledger_file(out, FRAMES[3].time)
    assert path == out / "ledger/date=2024-06-01/20240601T121500Z.parquet"
    before = path.read_bytes()
    assert close(out, live, time("12:36")) == ([], [])
    live.append(FRAMES[8:9])
    assert close(out, live, time("12:40")) == ([(FRAMES[4].time, 0)], [])
    assert close(out, live, LATER) == ([], []) and path.read_bytes() == before
    assert published_times(out) == [FRAMES[3].time, FRAMES[4].time] and unverified(out) == []
    with pytest.raises(UserError, match=r"121500Z\.parquet: this cycle is in the ledger"):
        append(out, FRAMES[3].time, read_ledger(out))
    assert path.read_bytes() == before


def test_what_comes_late_is_waited_for_three_hours_and_is_then_a_gap(out: Path, live: LiveStore) -> None:
    live.append([*FRAMES[:6], FRAMES[8]])  # of the cycle's four, the second and third are missing
    write_issued(out, FRAMES[2:5], guess(4))
    last = FRAMES[8].time
    assert close(out, live, last + np.timedelta64(179, "m")) == ([], [])
    live.append([FRAMES[7]])  # hours late: it serves verification
    assert close(out, live, last + np.timedelta64(179, "m")) == ([], [])
    assert close(out, live, last + np.timedelta64(3, "h")) == ([(FRAMES[4].time, 1)], [])
    live.append([FRAMES[6]])  # too late
    assert close(out, live) == ([], [])
    ledger = read_ledger(out)
    lost = ledger[ledger["gap"] != ""]
    assert set(lost["minutes"]) == {10.0} and set(lost["gap"]) == {"no frame of this time"}
    assert set(lost["forecaster"]) == {"issued", "extrapolation", "persistence"}
    assert (lost[SUMS] == 0).all(axis=None)
    rest = scores_of(ledger[ledger["gap"] == ""], ["forecaster", "threshold", "minutes"])
    assert rest["csi"].notna().all() and set(rest.index.unique("minutes")) == {5.0, 15.0, 20.0}


def test_gaps_of_all_kinds_are_in_words_and_one_dataset(out: Path, live: LiveStore) -> None:
    blind = replace(FRAMES[6], rain_rate=np.full_like(FRAMES[6].rain_rate, np.nan))
    live.append([*FRAMES[2:6], blind, *FRAMES[7:]])
    write_issued(out, FRAMES[:2], guess(1))  # its newest frame has expired
    write_issued(out, FRAMES[2:5], guess(4))  # one of its frames knows nothing
    write_issued(out, FRAMES[3:6], guess(5), fallback="persistence: no such model")
    broken = write_issued(out, FRAMES[4:7], guess(6))
    broken.write_bytes(broken.read_bytes()[:3000])
    damaged = write_issued(out, FRAMES[1:4], guess(3))
    damage_pixels(damaged)
    closed, problems = close(out, live)
    assert closed == [(FRAMES[1].time, 4), (FRAMES[4].time, 1), (FRAMES[5].time, 1)]
    assert [problem.split(": ")[:2] for problem in problems] == [
        [str(path), "can't be read"] for path in (damaged, broken)
    ]
    closed, problems = close(out, live, FRAMES[6].time + np.timedelta64(1, "D"))
    assert closed == [(FRAMES[3].time, 1), (FRAMES[6].time, 1)] and not problems

    ledger = read_ledger(out)
    gaps = ledger.groupby("reference_time")["gap"].unique()
    assert set(gaps[FRAMES[1].time]) == {"the frame that it was made from is gone from the live store"}
    assert set(gaps[FRAMES[4].time]) == {"", "the frame of this time has no valid pixel"}
    assert gaps[FRAMES[6].time][0].startswith(f"{broken}: can't be read")
    assert ledger.groupby("reference_time")["fallback"].unique()[FRAMES[5].time].tolist() == [True]
    # any reader of Parquet sees one table
    schemas = [pq.read_schema(path) for path in sorted((out / "ledger").rglob("*.parquet"))]
    assert len(schemas) == 5 and all(schema.equals(schemas[0]) for schema in schemas)
    since = read_ledger(out, since=FRAMES[4].time, until=FRAMES[5].time)
    assert set(since["reference_time"]) == {FRAMES[5].time}


def test_of_a_gap_among_its_frames_the_baselines_use_what_is_in_a_row(out: Path, live: LiveStore) -> None:
    live.append(FRAMES)
    write_issued(out, [FRAMES[1], FRAMES[3], FRAMES[4]], guess(4))
    write_issued(out, [FRAMES[3], FRAMES[5]], guess(5))
    assert close(out, live)[0] == [(FRAMES[4].time, 0), (FRAMES[5].time, 0)]
    csi = scores_of(read_ledger(out), ["reference_time", "forecaster", "threshold", "minutes"])["csi"]
    of_one, alone = csi[FRAMES[4].time], csi[FRAMES[5].time]
    assert of_one[("extrapolation", 2.0, 20.0)] > of_one[("persistence", 2.0, 20.0)] + 0.1
    assert alone[("extrapolation", 2.0, 20.0)] == alone[("persistence", 2.0, 20.0)]


def test_silence_is_told_of_after_its_minutes(out: Path) -> None:
    assert silent_since(out, LATER, None) is None
    assert silent_since(out, LATER, 90) == f"{out}: no forecast has been published yet"
    write_issued(out, FRAMES[:3], guess(2))
    assert silent_since(out, time("13:40"), 90) is None
    assert silent_since(out, time("13:41"), 90) == (
        f"{out}: the newest forecast is of 2024-06-01T12:10:00 UTC, 91 minutes ago, and 90 are allowed"
    )


def test_a_run_that_is_killed_anywhere_loses_and_doubles_nothing(out: Path, live: LiveStore) -> None:
    """At the n-th file that a run writes, opens or renames below the ledger it is killed; the next one completes."""
    live.append(FRAMES)
    for number in (2, 3, 4):
        rain = guess(number, seed=number)
        p = ([1.0, 2.0], (rain[:, None] >= [[[1.0]], [[2.0]]]).astype(float)) if number == 3 else None
        write_issued(out, FRAMES[number - 2 : number + 1], rain, exceedance=p)
    stored = live.open().load()  # threads that read don't outlive a fork
    assert [gaps for _, gaps in close_by(out, stored)[0]] == [0, 0, 0]
    undisturbed = [read_ledger(out, kind=kind) for kind in (LEDGER, PROBABILITIES)]
    assert len(undisturbed[1])
    killed = 0
    for point in (1, 2, 4, 7, 10, 13, 16, 10_000):
        for path in out.rglob("*.parquet"):
            path.unlink()
        child = os.fork()
        if child == 0:
            _kill_at(point, out / "ledger")
            close_by(out, stored)
            os._exit(0)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        close_by(out, stored)
        for kind, wanted in zip((LEDGER, PROBABILITIES), undisturbed, strict=True):
            pd.testing.assert_frame_equal(read_ledger(out, kind=kind), wanted)
        left = [path.name for path in out.glob("ledger*/**/*") if path.is_file()]
        assert sorted(left) == [f"20240601T12{minute}00Z.parquet" for minute in ("10", "15", "15", "20")]
    assert killed == 7


def _kill_at(point: int, folder: Path) -> None:
    seen = 0

    def look(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event in ("open", "os.rename", "os.mkdir", "os.scandir", "os.listdir") and str(folder) in str(arguments[0]):
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
