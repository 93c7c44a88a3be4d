"""A forecast by the model that is asked for, or by what the policy has in its place; and the reasons in words."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from archive import moving_cells
from domains import SIMULATED
from small_model import NETWORK, Mixture, loaded, probabilistic, untrained

from pipelines.common.errors import Unavailable, UserError
from pipelines.nowcast.methods.description import ModelDescription, Network
from pipelines.nowcast.methods.distribution import Distribution
from pipelines.nowcast.methods.extrapolation import persistence
from pipelines.nowcast.methods.memory import needed_mb
from pipelines.nowcast.methods.network import ProbabilisticNetworkForecaster
from pipelines.nowcast.methods.probability_baselines import lagrangian_probability, neighbourhood
from pipelines.nowcast.registered_model import LoadedModel
from pipelines.operation.forecast import forecast
from pipelines.operation.inputs import Source
from pipelines.operation.products.attributes import ForecastAttributes
from pipelines.operation.products.dataset import PROBABILITY
from pipelines.params.operation import Policy
from pipelines.radar.frame import Frame

POLICY = SIMULATED.policy
FRAMES = moving_cells("2024-06-01T12:00", 5, shape=(24, 32))
MODEL = loaded("persistence")


def policy(**changes: object) -> Policy:
    return POLICY.model_copy(update=changes)


def source_of(frames: list[Frame]) -> Source:
    by_time = {frame.time: frame for frame in frames}
    return Source("radar", np.array(list(by_time)), by_time.__getitem__)


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise error

    return fail


def giving(make: Callable[[np.ndarray, int], Any]) -> Callable[[], LoadedModel]:
    """A model that gives what ``make`` makes of its frames and lead times."""
    return lambda: replace(MODEL, forecaster=make)


def right(rain_rate: np.ndarray, leads: int) -> np.ndarray:
    return np.repeat(rain_rate[-1:], leads, axis=0)


@pytest.mark.parametrize(
    ("minutes", "step_s", "leads"), [(60, 300, 12), (60, 600, 6), (7, 300, 1), (60, 420, 8), (90, 300, 18)]
)
def test_lead_times_go_as_far_as_asked_for(minutes: int, step_s: int, leads: int) -> None:
    start = FRAMES[0].time
    frames = [replace(f, time=start + n * np.timedelta64(step_s, "s")) for n, f in enumerate(FRAMES)]
    dataset, observed = forecast(source_of(frames), lambda: MODEL, POLICY, minutes=minutes, snapshot="XYZ")
    assert dataset["lead_time"].to_numpy().tolist() == [step_s * (lead + 1) for lead in range(leads)]
    assert dataset.attrs["live_store_snapshot"] == "XYZ"
    assert dataset.attrs["fallback"] == "none"
    assert [frame.time for frame in observed] == [frame.time for frame in frames[-3:]]
    np.testing.assert_array_equal(dataset["rainfall_flux"].to_numpy()[-1], frames[-1].rain_rate)


def test_no_lead_time_or_nothing_seen_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^no lead time up to 4 minutes in steps of 300 s$"):
        forecast(source_of(FRAMES), lambda: MODEL, POLICY, minutes=4)
    blind = replace(FRAMES[-1], rain_rate=np.full((24, 32), np.nan, np.float32))
    with pytest.raises(UserError, match=rf"^radar: {blind.source}: the newest frame, of .* knows 0.00% of the grid"):
        forecast(source_of([*FRAMES[:-1], blind]), lambda: MODEL, POLICY)


BROKEN = {
    "not there": (raising(UserError("models:/x@champion: no such model in y")), "models:/x@champion: no such model"),
    "MLflow down": (raising(Unavailable("MLflow store http://h: refused")), "MLflow store http://h: refused"),
    "bad file": (raising(KeyError("network")), "the model can't be loaded: KeyError: 'network'"),
    "too many inputs": (lambda: loaded("persistence", inputs=9), "no good frame of 2024-06-01T11:40:00, "),
    "no inputs": (lambda: loaded("persistence", inputs="many"), "loaded: ValidationError: .*inputs"),
    "cadence": (lambda: loaded("persistence", step_seconds=600), "frames are 300 s apart, and .* in steps of 600 s"),
    "pixels": (lambda: loaded("persistence", pixel_metres=2000.0), "pixels are of 1000 m, and .* trained on 2000 m"),
    "no pixels": (lambda: loaded("persistence", pixel_metres="1 km"), "loaded: ValidationError: .*pixel_metres"),
    "raises": (giving(raising(RuntimeError("a\nb"))), r"models:/radar-nowcast@champion: RuntimeError: a b"),
    "disk": (giving(raising(OSError(5, "Input/output error"))), "OSError: .*Input/output error"),
    "memory": (giving(raising(MemoryError())), "MemoryError"),
    "shape": (giving(lambda rain, leads: right(rain, leads - 1)), r"of shape \(11, 24, 32\), not \(12, 24, 32\)"),
    "kind": (giving(lambda rain, leads: None), r"object of shape \(\)"),
    "negative": (giving(lambda rain, leads: -1 - right(rain, leads)), "it gives negative rain"),
    "infinite": (giving(lambda rain, leads: right(rain, leads) + np.inf), "it gives infinite rain"),
    "unknown": (giving(lambda rain, leads: right(rain, leads) * np.nan), "it gives nothing but NaN"),
}  # fmt: skip


def giving_probabilities(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[], LoadedModel]:
    """A model whose probabilities are those of `Mixture`, changed."""

    class Changed(Mixture):
        def distribution(self, rain_rate: np.ndarray, leads: int, rates: Sequence[float]) -> Distribution:
            given = super().distribution(rain_rate, leads, rates)
            return given._replace(exceedance=change(given.exceedance))

    return lambda: replace(probabilistic(), forecaster=Changed())


def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Put a value at a rate of one pixel that is known."""

    def change(exceedance: np.ndarray) -> np.ndarray:
        exceedance[-1, 1, 12, 16] = value
        return exceedance

    return change


BROKEN |= {
    "rates": (lambda: probabilistic([1.0, 0.1, 5.0]), "loaded: ValidationError: .*rates.* ascending rain rates"),
    "no rate": (lambda: probabilistic([1.0]), "loaded: ValidationError: .*rates"),
    "climatology": (lambda: probabilistic(climatology=[0.1]), "climatology: a share for each of the key rates"),
    "step": (lambda: probabilistic(step_seconds=600), "frames are 300 s apart, and .* in steps of 600 s"),
    "no distribution": (lambda: replace(probabilistic(), forecaster=persistence), "it has rates, and gives no prob"),
    "few rates": (giving_probabilities(lambda p: p[:, :2]), r"of shape \(12, 2, 24, 32\), not \(12, 3, 24, 32\)"),
    "NaN": (giving_probabilities(put(np.nan)), "probabilities in other places than rain"),
    "known": (giving_probabilities(np.nan_to_num), "probabilities in other places than rain"),
    "above": (giving_probabilities(put(1.01)), "probabilities beyond 0 to 1"),
    "below": (giving_probabilities(put(-0.01)), "probabilities beyond 0 to 1"),
    "order": (giving_probabilities(lambda p: p[:, ::-1]), "heavier rain that is likelier than lighter"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_the_model_can_t_do_extrapolation_does_and_says_why(what: str) -> None:
    model, words = BROKEN[what]
    dataset, _ = forecast(source_of(FRAMES), model, POLICY)
    said = dataset.attrs
    assert (said["method"], said["model_name"], said["model_version"]) == ("extrapolation", "extrapolation", "none")
    assert said["fallback"].startswith("extrapolation: ") and "\n" not in said["fallback"]
    assert re.search(words, said["fallback"]), said["fallback"]
    assert json.loads(said["policy"])["fallback"] == ["extrapolation", "persistence"]
    inside = np.s_[6:-6, 6:-6]
    expected = FRAMES[-1].rain_rate
    assert not np.array_equal(dataset["rainfall_flux"].to_numpy()[2][inside], expected[inside]), "it moves"
    assert ForecastAttributes.model_validate(said).warnings == [f"fallback: {said['fallback']}"]
    assert PROBABILITY not in dataset, "a fallback has none"


def test_the_methods_have_their_turn_and_then_it_is_refused() -> None:
    model = raising(UserError("no champion"))
    two = source_of([FRAMES[0], FRAMES[4], replace(FRAMES[3], time=FRAMES[4].time - np.timedelta64(20, "m"))])
    said = forecast(two, model, policy(max_missing=0))[0].attrs
    assert said["method"] == "persistence"
    assert said["fallback"].startswith("persistence: no champion; radar: no good frame of ")
    with pytest.raises(UserError, match=r"^no champion; radar: no good frame of .* extrapolation needs the 3"):
        forecast(two, model, policy(max_missing=0, fallback=["extrapolation"]))
    # With nothing in its place, what is raised is what the model said: another try may help.
    with pytest.raises(Unavailable, match=r"^refused$"):
        forecast(source_of(FRAMES), raising(Unavailable("refused")), policy(fallback=[]))


@pytest.mark.parametrize("what", ["dry", "one wet pixel", "rounded"])
def test_probabilities_are_at_the_models_own_rates_and_the_field_is_of_the_same_run(what: str) -> None:
    frames, model = FRAMES, probabilistic()
    if what != "rounded":
        rain = np.zeros((24, 32), np.float32)
        rain[12, 16] = 3.0 * (what == "one wet pixel")
        frames = [replace(frame, rain_rate=rain) for frame in FRAMES]
    else:
        model = giving_probabilities(lambda p: p + np.float32(1e-7))()
    dataset, _ = forecast(source_of(frames), lambda: model, POLICY)
    assert dataset.attrs["fallback"] == "none" and dataset["threshold"].to_numpy().tolist() == [0.1, 1.0, 5.0]
    inputs = np.stack([frame.rain_rate for frame in frames[-3:]])
    wanted = Mixture().distribution(inputs, 12, [0.1, 1.0, 5.0])
    np.testing.assert_allclose(dataset[PROBABILITY], wanted.exceedance, atol=1e-6)
    np.testing.assert_array_equal(dataset["rainfall_flux"], wanted.fields["mean"])
    if what == "one wet pixel":  # that stands still: certain there, and nowhere else
        assert dataset[PROBABILITY].sum(("y", "x")).to_numpy() == pytest.approx(np.tile([1.0, 1.0, 0.0], (12, 1)))


def test_probabilities_of_a_grid_in_tiles_are_those_of_the_whole_and_are_written(tmp_path: Path) -> None:
    rates = [0.1, 1.0, 5.0]
    forecaster = ProbabilisticNetworkForecaster(untrained(rates=rates), 3, rates, "mean")
    model = replace(probabilistic(), forecaster=forecaster)
    whole, _ = forecast(source_of(FRAMES), lambda: model, POLICY)
    forecaster.whole, forecaster.side = 0, 16
    tiled, _ = forecast(source_of(FRAMES), lambda: model, POLICY)
    tiled.to_netcdf(tmp_path / "forecast.nc")
    assert tiled.attrs["fallback"] == "none"
    with xr.open_dataset(tmp_path / "forecast.nc", decode_timedelta=False) as written:
        np.testing.assert_allclose(written[PROBABILITY], whole[PROBABILITY], atol=0.002 + 1e-6)
        np.testing.assert_allclose(written["rainfall_flux"], whole["rainfall_flux"], atol=1e-4)
        np.testing.assert_allclose(written["rainfall_amount_60min"], whole["rainfall_amount_60min"], atol=1e-4)
    assert np.nanstd(whole[PROBABILITY]) > 0.1


@pytest.mark.parametrize("method", ["neighbourhood", "lagrangian_probability"])
def test_probabilities_of_a_dry_hour_and_of_one_wet_pixel(method: str) -> None:
    rates = [0.1, 1.0, 5.0]
    made = {
        "neighbourhood": neighbourhood(pixel_m=1000.0, rates=rates),
        "lagrangian_probability": lagrangian_probability(pixel_m=1000.0, step_s=300, rates=rates),
    }
    model = replace(probabilistic(rates), forecaster=made[method])
    for wet in (0.0, 3.0):
        rain = np.zeros((24, 32), np.float32)
        rain[12, 16] = wet
        dataset, _ = forecast(source_of([replace(frame, rain_rate=rain) for frame in FRAMES]), lambda: model, POLICY)
        probability = dataset[PROBABILITY].to_numpy()
        assert dataset.attrs["fallback"] == "none" and (probability[:, 2] == 0).all()
        assert (probability.max(axis=(0, 2, 3)) > 0).tolist() == [wet > 0, wet > 0, False]
        if wet and method == "neighbourhood":  # of 25 km, all 24 rows and 25 columns are on the grid
            assert probability[:, :2, 12, 16] == pytest.approx(1 / (24 * 25))


def test_a_method_over_the_memory_limit_isn_t_used() -> None:
    network = ModelDescription(method="network", inputs=3, network=Network(**NETWORK | {"downsample": 1}))
    model = replace(MODEL, description=network)
    needed = needed_mb(network, (24, 32), 12)
    assert (
        forecast(source_of(FRAMES), lambda: model, POLICY, memory_limit_mb=1 + int(needed))[0].attrs["fallback"]
        == "none"
    )
    large = [replace(f, rain_rate=np.tile(f.rain_rate, (40, 30)), grid=_grid(960, 960)) for f in FRAMES]
    limit = int(needed_mb(ModelDescription(method="extrapolation", inputs=3), (960, 960), 12)) + 1
    assert limit < needed_mb(network, (960, 960), 12) == pytest.approx(needed * 40 * 30)
    said = forecast(source_of(large), lambda: model, POLICY, memory_limit_mb=limit)[0].attrs
    assert said["fallback"].startswith("extrapolation: models:/radar-nowcast@champion needs ")
    assert f"MB on 960×960 pixels, and {limit} are allowed" in said["fallback"]
    many = probabilistic(list(np.arange(1, 40.0)))  # 12 lead times of 39 rates, 4 bytes each, are 0.1 GB a copy
    assert "needs" in forecast(source_of(large), lambda: many, POLICY, memory_limit_mb=limit)[0].attrs["fallback"]


def test_a_stand_in_is_never_said_to_be_observed() -> None:
    dataset, observed = forecast(source_of([*FRAMES[:3], FRAMES[4]]), lambda: MODEL, POLICY)
    assert [frame.time for frame in observed] == [FRAMES[2].time, FRAMES[4].time]
    np.testing.assert_array_equal(observed[0].rain_rate, FRAMES[2].rain_rate)
    assert [one["sha256"] for one in json.loads(dataset.attrs["input_frames"])] == [f.sha256 for f in observed]
    assert json.loads(dataset.attrs["missing_frames"]) == [
        {
            "time": "2024-06-01T12:15:00",
            "why": "no frame of this time",
            "stand_in": f"{FRAMES[2].source} of 2024-06-01T12:10:00, advected",
        }
    ]


def _grid(H: int, W: int) -> Any:
    return moving_cells("2024-06-01T12:00", 1, shape=(H, W))[0].grid
