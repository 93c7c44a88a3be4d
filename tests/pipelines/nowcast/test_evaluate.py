"""Scores of known forecasts, the mask that all methods share, and events with nothing in them."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from archive import moving_cells, write_store
from ruamel.yaml import YAML
from scipy.ndimage import uniform_filter

from pipelines.common.errors import UserError
from pipelines.nowcast import evaluate as stage
from pipelines.nowcast.evaluate import evaluate, forecast_times
from pipelines.nowcast.hindcast import score_methods
from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.distribution import Distribution, Exceedance, certain
from pipelines.nowcast.methods.extrapolation import Forecaster, persistence
from pipelines.nowcast.methods.interface import FALLBACKS, ForecasterFactory, baseline, factory_from
from pipelines.nowcast.methods.probability_baselines import ExceedanceForecaster
from pipelines.nowcast.methods.steps import PystepsEnsemble
from pipelines.nowcast.scores import by_field
from pipelines.params.read import Params, read_params
from pipelines.radar.frame import Frame, Rain
from pipelines.radar.store import open_frames
from pipelines.verification.images import IMAGE_SUMS, of_lead_times
from pipelines.verification.probabilities import BINS
from pipelines.verification.scoring import COUNTS, mean_csi, scores_of

ROOT = Path(__file__).parents[3]
INPUTS, LEADS, COUNT = 3, 4, 12
SHAPE = (48, 56)


def write_params(folder: Path) -> Params:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content["index"] |= {"inputs": INPUTS, "leads": LEADS, "size": 32}
    content["evaluate"] |= {"thresholds": [0.5, 2.0], "time_stride": 2}
    YAML().dump(content, folder / "params.yaml")
    return read_params(folder / "params.yaml")


def write_windows(path: Path, store: Path, starts: dict[int, list[int]]) -> Path:
    """An index of test windows that start at ``starts`` of each event, and of one train window, each at two places."""
    rows = [{"t0": t0, "event": event, "split": "test"} for event, of_event in starts.items() for t0 in of_event]
    rows.append({"t0": 0, "event": 99, "split": "train"})
    table = pd.DataFrame([row | {"store": str(store), "y0": 0, "x0": x0} for row in rows for x0 in (0, 24)])
    table.to_parquet(path)
    return path


def blank(frame: Frame, value: float) -> Frame:
    return replace(frame, rain_rate=np.full(SHAPE, value, np.float32))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with params.yaml, a store of two moving events, a dry one and an unseen one, and windows of them."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "dvc.yaml").touch()
    write_params(folder)
    first = moving_cells("2024-06-01T12:00", COUNT, shape=SHAPE, speed=(2.0, 1.0), seed=1)
    first[4].rain_rate[20:28, 30:38] = np.nan  # not seen for once
    second = moving_cells("2024-06-02T12:00", COUNT, shape=SHAPE, speed=(-2.0, 0.0), seed=2)
    dry = [blank(frame, 0.0) for frame in moving_cells("2024-06-03T12:00", COUNT, shape=SHAPE)]
    unseen = [blank(frame, np.nan) for frame in moving_cells("2024-06-04T12:00", COUNT, shape=SHAPE)]
    store = write_store(folder / "radar.zarr", [*first, *second, *dry, *unseen])
    write_windows(folder / "windows.parquet", store, {0: [0, 1, 2, 3, 4, 5], 1: [12, 13, 14]})
    write_windows(folder / "nothing.parquet", store, {2: [24], 3: [36]})
    return folder


def make(forecaster: Forecaster) -> ForecasterFactory:
    return lambda pixel_m, step_s: forecaster


def scores(factory: ForecasterFactory, name: str, windows: Path, params: Params) -> pd.DataFrame:
    with TemporaryDirectory() as checkpoints:
        return evaluate(factory, name, windows, Path(checkpoints), index=params.index, params=params.evaluate)[0]


def by_name(method: str, params: Params) -> ForecasterFactory:
    return baseline(method, params.evaluate, params.index.rates, Path("climatology.json"))


def scored(place: Path, method: str | Forecaster, windows: str = "windows.parquet") -> pd.DataFrame:
    """The sums of a baseline, or of a forecaster that the test calls "ours"."""
    params = read_params(place / "params.yaml")
    factory, name = (by_name(method, params), method) if isinstance(method, str) else (make(method), "ours")
    return scores(factory, name, place / windows, params)


def test_forecast_times_are_a_stride_apart_in_each_test_event(tmp_path: Path) -> None:
    windows = write_windows(tmp_path / "windows.parquet", tmp_path, {0: [3, 4, 5, 6, 9], 1: [20, 21, 22]})
    expected = [[t, 0] for t in (3, 4, 5, 6, 9)] + [[t, 1] for t in (20, 21, 22)]
    assert forecast_times(windows, 1)[["t0", "event"]].to_numpy().tolist() == expected
    assert forecast_times(windows, 3)["t0"].tolist() == [3, 6, 9, 20]
    assert forecast_times(windows, 2)["t0"].tolist() == [3, 5, 9, 20, 22]


def test_counts_are_those_of_numpy_on_the_mask_that_all_share(place: Path) -> None:
    tables = {name: scored(place, name) for name in FALLBACKS}
    assert [*tables["persistence"].groupby("event")["t0"].unique().map(list)] == [[0, 2, 4], [12, 14]]
    pixels = {name: table[list(COUNTS)].sum(axis=1) for name, table in tables.items()}
    pd.testing.assert_series_equal(pixels["persistence"], pixels["extrapolation"])

    rain = open_frames(place / "radar.zarr")["rainfall_flux"].to_numpy()
    table = tables["persistence"]
    clock = open_frames(place / "radar.zarr")["time"].to_numpy()
    assert (table.loc[table["t0"] == 2, "time"] == clock[2 + INPUTS - 1]).all()
    for row in table[table["t0"] == 2].itertuples():
        lead = round(row.minutes / 5)
        now, then = rain[2 + INPUTS - 1], rain[2 + INPUTS - 1 + lead]
        upstream = np.isfinite(FALLBACKS["extrapolation"](rain[2 : 2 + INPUTS], LEADS)[lead - 1])
        seen = rain[2 : 2 + INPUTS]
        upstream &= np.isfinite(
            lagrangian.advect(np.repeat(seen[-1:], LEADS, axis=0), lagrangian.motion(seen))[lead - 1]
        )
        counts = np.isfinite(now) & np.isfinite(then) & upstream
        assert 0 < counts.sum() < counts.size - 16  # more is left out than what the radar doesn't see
        forecast, observed = now[counts] >= row.threshold, then[counts] >= row.threshold
        assert (row.hits, row.misses) == ((forecast & observed).sum(), (~forecast & observed).sum())
        assert (row.false_alarms, row.correct_negatives) == (
            (forecast & ~observed).sum(),
            (~forecast & ~observed).sum(),
        )
        assert row.squared_error == pytest.approx(np.square(now - then)[counts].sum(), rel=1e-4)
        assert row.absolute_error == pytest.approx(np.abs(now - then)[counts].sum(), rel=1e-4)


def test_probabilities_and_every_field_of_one_run_are_scored_on_the_same_mask(place: Path, tmp_path: Path) -> None:
    class Half:
        """Persistence, of which it is half sure; twice as much is a further field."""

        def __call__(self, seen: Rain, leads: int) -> Rain:
            return persistence(seen, leads)

        def distribution(self, seen: Rain, leads: int, rates: Sequence[float]) -> Distribution:
            field = persistence(seen, leads)
            return Distribution(certain(field, rates) / 2, {"field": field, "twice": 2 * field}, members=2)

    params = read_params(place / "params.yaml")
    times = forecast_times(place / "windows.parquet", 2)
    factories = {"half": make(Half()), "persistence": make(persistence)}
    tables, probabilities, _, refused = score_methods(
        factories, times, tmp_path, index=params.index, params=params.evaluate
    )
    assert not refused
    keys = ["store", "event", "t0", "time", "minutes", "threshold"]
    certainly = probabilities["persistence"].set_index(keys)
    half = probabilities["half"].set_index(keys)
    assert (len(half), set(half.index.unique("threshold"))) == (len(times) * LEADS * 11, set(params.index.rates))
    assert certainly["members"].isna().all()
    assert (half["members"] == 2).all()
    # Where it said 1 and that came, and where it said 1 and that didn't: 1 / 4 each; what it missed counts wholly.
    said, came = certainly[f"count_{BINS - 1}"], certainly[f"came_{BINS - 1}"]
    missed = certainly["came_0"]
    pd.testing.assert_series_equal(certainly["squared_error"], said - came + missed, check_names=False)
    pd.testing.assert_series_equal(half["squared_error"], said / 4 + missed, check_names=False)
    # The same contingency as the field's, at a rate that both have.
    at_2mm = tables["persistence"].set_index(keys).xs(2.0, level="threshold")
    counts = certainly.xs(2.0, level="threshold")
    assert (at_2mm["hits"] == counts[f"came_{BINS - 1}"]).all()
    assert (at_2mm["misses"] == counts["came_0"]).all()
    assert (at_2mm["correct_negatives"] == counts["count_0"] - counts["came_0"]).all()

    by_label = by_field("half", tables["half"])
    assert list(by_label) == ["half", "half (twice)"]
    pd.testing.assert_frame_equal(by_label["half"].reset_index(drop=True), tables["persistence"])
    first, twice = (by_label[label].groupby("t0")["error"].sum() for label in by_label)
    assert (twice > first).any()


def test_extrapolation_beats_persistence_where_rain_only_moves(place: Path) -> None:
    assert mean_csi(scored(place, "extrapolation")) > 0.95 > 0.9 > mean_csi(scored(place, "persistence"))


def who_knows_the_future(place: Path) -> Forecaster:
    rain = open_frames(place / "radar.zarr")["rainfall_flux"].to_numpy()

    def oracle(seen: Rain, leads: int) -> Rain:
        (start,) = (t for t in range(len(rain)) if np.array_equal(rain[t : t + INPUTS], seen, equal_nan=True))
        return rain[start + INPUTS : start + INPUTS + leads]

    return oracle


def test_who_knows_the_future_has_every_score_at_its_best(place: Path) -> None:
    scores = scores_of(scored(place, who_knows_the_future(place)), ["threshold", "minutes"])
    assert (scores[["csi", "pod", "bias", "ets", "hss", "fss_2km", "fss_8km", "fss_32km"]] == 1).all(axis=None)
    assert (scores[["far", "mae", "rmse", "me", "rapsd_error"]] == 0).all(axis=None)


def test_a_blurred_forecast_is_told_by_its_spectrum(place: Path) -> None:
    """Blur is what CSI at a low threshold may forgive and RAPSD may not."""
    rain = open_frames(place / "radar.zarr")["rainfall_flux"].to_numpy()

    def blurred(seen: Rain, leads: int) -> Rain:
        (start,) = (t for t in range(len(rain)) if np.array_equal(rain[t : t + INPUTS], seen, equal_nan=True))
        future = np.nan_to_num(rain[start + INPUTS : start + INPUTS + leads])
        return uniform_filter(future, (1, 9, 9))

    sharp, soft = (scores_of(scored(place, of), ["threshold"]) for of in ("extrapolation", blurred))
    assert (soft["rapsd_error"] > 3 * sharp["rapsd_error"]).all()


def test_dry_and_unseen_events_break_nothing(place: Path) -> None:
    table = scored(place, "extrapolation", "nothing.parquet")
    dry, unseen = table[table["event"] == 2], table[table["event"] == 3]
    assert (dry["correct_negatives"] == SHAPE[0] * SHAPE[1]).all()
    assert (dry[["hits", "misses", "false_alarms", "absolute_error"]] == 0).all(axis=None)
    assert (unseen[[*COUNTS, "absolute_error"]] == 0).all(axis=None)
    both = pd.concat([scored(place, "extrapolation"), table])
    assert mean_csi(both) == pytest.approx(mean_csi(scored(place, "extrapolation")))


@pytest.mark.parametrize("method", ["sprog", "steps"])
def test_pysteps_nowcasts_fall_back_on_extrapolation_where_there_is_no_rain(place: Path, method: str) -> None:
    ours, moved = (scored(place, name, "nothing.parquet") for name in (method, "extrapolation"))
    assert ours["fell_back"].all()
    assert not moved["fell_back"].any()
    of_names = ["field", "fell_back"]
    pd.testing.assert_frame_equal(ours.drop(columns=of_names), moved.drop(columns=of_names))


def test_a_forecaster_that_is_silent_where_it_counts_is_refused(place: Path) -> None:
    def silent_in_a_corner(seen: Rain, leads: int) -> Rain:
        forecast = persistence(seen, leads)
        forecast[-1, 20, 20] = np.nan
        return forecast

    with pytest.raises(UserError, match=r"^ours: .*radar\.zarr: from frame 0: no forecast for some pixels that"):
        scored(place, silent_in_a_corner)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda p: np.where(p > 0, np.float32(np.nan), p), "isn't from 0 to 1"),
        (lambda p: p * 1.5, "isn't from 0 to 1"),
        (lambda p: -p, "isn't from 0 to 1"),
        (lambda p: p[:, ::-1], "more likely than a lower rain rate"),
    ],
)
def test_probabilities_that_are_no_distribution_are_refused(
    place: Path, tmp_path: Path, fault: Callable[[Exceedance], Exceedance], words: str
) -> None:
    class Faulty:
        def __call__(self, seen: Rain, leads: int) -> Rain:
            return persistence(seen, leads)

        def distribution(self, seen: Rain, leads: int, rates: Sequence[float]) -> Distribution:
            field = persistence(seen, leads)
            return Distribution(fault(certain(field, rates)), {"field": field})

    params = read_params(place / "params.yaml")
    factories = {"faulty": make(Faulty()), "ours": make(persistence)}
    times = forecast_times(place / "windows.parquet", 2)
    told = score_methods(factories, times, tmp_path, index=params.index, params=params.evaluate)
    assert list(told.fields) == list(told.probabilities) == ["ours"]
    assert re.search(
        r"radar\.zarr: from frame 0: no distribution at 5 minutes and .* mm/h: .*" + words, told.refused["faulty"]
    )


@pytest.mark.parametrize("method", ["extrapolation", "steps", "lagrangian_probability", "neighbourhood", "climatology"])
def test_probabilities_of_dry_and_unseen_events(place: Path, method: str) -> None:
    """Where it stays dry all are right but climatology, whose Brier score is its own share squared."""
    params, shares = read_params(place / "params.yaml"), np.geomspace(0.2, 0.0001, 11)
    climate = {"rates": params.index.rates, "exceedance": shares.tolist()}
    (place / "climatology.json").write_text(json.dumps(climate))
    make_it = baseline(method, params.evaluate, params.index.rates, place / "climatology.json")
    with TemporaryDirectory() as checkpoints:
        of = {"index": params.index, "params": params.evaluate}
        _, table, _ = evaluate(make_it, method, place / "nothing.parquet", Path(checkpoints), **of)
    dry, unseen = table[table["event"] == 2], table[table["event"] == 3]
    assert len(dry) == len(unseen) == LEADS * 11
    counts = [column for column in table if column.startswith("count_")]
    assert (dry[counts].sum(axis=1) == SHAPE[0] * SHAPE[1]).all()
    assert (unseen[[*counts, "squared_error"]] == 0).all(axis=None)
    expected = shares**2 * SHAPE[0] * SHAPE[1] if method == "climatology" else np.zeros(11)
    np.testing.assert_allclose(dry["squared_error"], np.tile(expected, LEADS), rtol=1e-4, atol=1e-6)


def test_members_are_an_ensemble_s_own_or_drawn_from_probabilities(place: Path, tmp_path: Path) -> None:
    def four(decibels: Rain, velocity: Rain, leads: int, tell: Callable[[Rain], None]) -> None:
        for _ in range(leads):
            tell(np.stack([share * 10 ** (decibels[-1] / 10) for share in (0.8, 0.9, 1.0, 1.1)]))

    def half(seen: Rain, leads: int, rates: Sequence[float]) -> Exceedance:
        return np.full((leads, len(rates), *SHAPE), 0.5, np.float32)

    params = read_params(place / "params.yaml")
    of = {"index": params.index, "params": params.evaluate.model_copy(update={"members": 30})}
    methods = {"four": PystepsEnsemble(four, 4), "half": ExceedanceForecaster(half, [1.0]), "ours": persistence}
    for _ in range(2):  # the second time from what was kept
        factories = {name: make(method) for name, method in methods.items()}
        told = score_methods(factories, forecast_times(place / "windows.parquet", 2), tmp_path, **of)
        methods["half"] = persistence  # not asked again
    assert not told.refused
    assert list(told.members) == ["four", "half"]
    keys = ["time", "minutes", "threshold"]
    rates = {name: sums[sums["of"] == "rates"].set_index(keys) for name, sums in told.members.items()}
    fields = told.fields["four"].set_index(keys).loc[rates["four"].index]
    np.testing.assert_allclose(rates["four"]["squared_error"], fields["squared_error"], rtol=1e-3)
    assert (rates["four"]["members"] == 4).all()
    assert (rates["half"]["members"] == 30).all()
    # Half of the members have 20 mm/h or more at a pixel, and an area's mean is about that: sure of 1 mm in 20 minutes.
    areas = told.members["half"].query("of == 'areas' and threshold == 1.0")
    assert 0 < areas["pixels"].max() <= (SHAPE[0] // 16) * (SHAPE[1] // 16)
    assert areas.filter(like="said_").to_numpy().sum() > 0.9 * areas["pixels"].sum()


def test_a_model_of_other_steps_is_refused_and_the_others_are_scored(place: Path, tmp_path: Path) -> None:
    params = read_params(place / "params.yaml")
    factories = {
        "hourly": factory_from(persistence, ModelDescription(method="persistence", inputs=1, step_seconds=3600)),
        "ours": make(persistence),
    }
    times = forecast_times(place / "windows.parquet", 2)
    tables, _, _, refused = score_methods(factories, times, tmp_path, index=params.index, params=params.evaluate)
    pd.testing.assert_frame_equal(tables["ours"], scored(place, "persistence"))
    assert list(tables) == ["ours"]
    assert list(refused) == ["hourly"]
    assert refused["hourly"].endswith("radar.zarr: its steps are of 3600 s, and those of the data of 300 s")
    with pytest.raises(UserError, match=r"^hourly: .* steps are of 3600 s"):
        scores(factories["hourly"], "hourly", place / "windows.parquet", params)


def test_an_interrupted_evaluation_goes_on_where_it_was(place: Path, tmp_path: Path) -> None:
    """Ctrl-C at the fourth time; one method has failed before, at the second; the first time's file gets damaged."""
    params = read_params(place / "params.yaml")
    times = forecast_times(place / "windows.parquet", 2)
    asked: list[str] = []

    def counted(seen: Rain, leads: int) -> Rain:
        asked.append("ours")
        if asked.count("ours") == 4:
            raise KeyboardInterrupt
        return persistence(seen, leads)

    def failing(seen: Rain, leads: int) -> Rain:
        asked.append("failing")
        if asked.count("failing") == 2:
            raise UserError("no more")
        return persistence(seen, leads)

    factories = {"failing": make(failing), "ours": make(counted), "persistence": make(persistence)}
    with pytest.raises(KeyboardInterrupt):
        score_methods(factories, times, tmp_path, index=params.index, params=params.evaluate)
    assert len(list(tmp_path.glob("0-*.parquet"))) == 6
    (tmp_path / f"0-{times['t0'][0]}.probabilities.parquet").write_bytes(b"PAR1")
    tables, _, _, refused = score_methods(factories, times, tmp_path, index=params.index, params=params.evaluate)
    assert len(times) == 5
    assert (asked.count("ours"), asked.count("failing")) == (7, 2)
    assert list(tables) == ["ours", "persistence"]
    assert list(refused) == ["failing"]
    pd.testing.assert_frame_equal(tables["ours"], tables["persistence"])
    pd.testing.assert_frame_equal(tables["ours"], scored(place, "persistence"))


def test_the_stage_writes_counts_and_a_few_finite_scores(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    for windows in ("windows.parquet", "nothing.parquet"):
        table, metrics = tmp_path / "persistence.parquet", tmp_path / "metrics" / "persistence.json"
        stage.main(
            "persistence", Path(windows), table, *(tmp_path / of for of in ("p.parquet", "m.parquet", "e.nc")), metrics
        )
        pd.testing.assert_frame_equal(pd.read_parquet(table), scored(place, "persistence", windows))
        of_times = [set(pd.read_parquet(file)["t0"]) for file in (table, tmp_path / "p.parquet")]
        assert of_times[0] == of_times[1]
        assert pd.read_parquet(tmp_path / "m.parquet").empty  # nobody asked for members
        scores = json.loads(metrics.read_text(), parse_constant=pytest.fail)  # no NaN: it is no JSON
        assert scores.get("csi_mean") == (mean_csi(pd.read_parquet(table)) if windows[0] == "w" else None)
    with pytest.raises(UserError, match=r"^nobody/model\.json: "):
        stage.main(
            "nobody", Path("windows.parquet"), *(tmp_path / f"n.{of}" for of in ("parquet", "p", "m", "nc", "json"))
        )
    assert not (tmp_path / "n.parquet").exists()


def test_echo_images_are_scored_where_they_are_asked_for(place: Path) -> None:
    params = read_params(place / "params.yaml")
    asked = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"images": True})})
    plain = scores(make(persistence), "persistence", place / "windows.parquet", params)
    table = scores(make(persistence), "persistence", place / "windows.parquet", asked)
    pd.testing.assert_frame_equal(table.drop(columns=IMAGE_SUMS), plain)
    assert (of_lead_times(table)["ssim"].between(0.2, 0.99) & of_lead_times(table)["mse"].between(1e-4, 0.3)).all()
    perfect = scores(make(who_knows_the_future(place)), "perfect", place / "windows.parquet", asked)
    assert of_lead_times(perfect)["mse"].max() == 0
    np.testing.assert_allclose(of_lead_times(perfect)["ssim"], 1.0, atol=1e-5)


def test_thresholds_and_stride_are_as_asked_for(place: Path) -> None:
    params = read_params(place / "params.yaml")
    of_few = params.evaluate.model_copy(update={"thresholds": [0.1], "time_stride": 100})
    few = params.model_copy(update={"evaluate": of_few})
    table = scores(make(persistence), "persistence", place / "windows.parquet", few)
    assert table["threshold"].unique().tolist() == [0.1]
    assert sorted(table["t0"].unique()) == [0, 12]
