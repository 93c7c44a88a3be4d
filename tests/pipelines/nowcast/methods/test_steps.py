"""S-PROG, STEPS and LINDA: forecasts of mm/h wherever extrapolation knows something, whatever the frames are like."""

from collections.abc import Callable

import numpy as np
import pytest
from archive import moving_cells

from pipelines.nowcast.methods.distribution import certain
from pipelines.nowcast.methods.extrapolation import extrapolation, lucas_kanade
from pipelines.nowcast.methods.steps import CASCADE, DRY_DECIBELS, PystepsEnsemble, PystepsNowcast, linda, sprog, steps
from pipelines.radar.frame import DRY

LEADS = 3
MAKERS: dict[str, Callable[[], PystepsNowcast | PystepsEnsemble]] = {
    "sprog": sprog,
    "steps": lambda: steps(members=3, seed=1, pixel_m=1000.0, step_s=300),
    "linda": lambda: linda(members=3, seed=1, pixel_m=1000.0, step_s=300),
}
METHODS = ["sprog", "steps", pytest.param("linda", marks=pytest.mark.full)]  # it takes 10 s a forecast


def moving(shape: tuple[int, int], *, count: int = 4) -> np.ndarray:
    return np.stack([frame.rain_rate for frame in moving_cells("2024-06-01T12:00", count, shape=shape)])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(64, 64), (48, 77)])
def test_it_forecasts_rain_that_moves(method: str, shape: tuple[int, int]) -> None:
    frames = moving(shape, count=4 + LEADS)
    ours = MAKERS[method]()
    forecast = ours(frames[:4], LEADS)
    moved = extrapolation(frames[:4], LEADS)
    assert not ours.fell_back
    assert (forecast.shape, forecast.dtype) == ((LEADS, *shape), np.dtype(np.float32))
    known = np.isfinite(moved)
    assert np.isfinite(forecast[known]).all()
    assert (forecast[known] >= 0).all()
    seen = known & np.isfinite(frames[4:])
    stood_still = np.repeat(frames[3:4], LEADS, axis=0)
    error, of_persistence = (np.abs(of - frames[4:])[seen].mean() for of in (forecast, stood_still))
    assert error < 0.8 * of_persistence


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("frames", ["dry", "unseen", "drizzle", "two", "newest unseen", "one cell"])
def test_where_pysteps_cannot_extrapolation_stands_in(method: str, frames: str) -> None:
    rain = moving((48, 60))
    if frames == "dry":
        rain[:] = 0
    elif frames == "unseen":
        rain[:] = np.nan
    elif frames == "drizzle":
        rain[:] = DRY / 2
    elif frames == "two":
        rain = rain[:2]
    elif frames == "newest unseen":
        rain[-1] = np.nan
    elif frames == "one cell":
        rain[:] = 0
        rain[:, 20:25, 20:25] = 4
    ours = MAKERS[method]()
    np.testing.assert_array_equal(ours(rain, LEADS), extrapolation(rain, LEADS))
    assert ours.fell_back
    # The next forecast is its own again.
    ours(moving((48, 60)), LEADS)
    assert not ours.fell_back


def test_whatever_pysteps_raises_there_is_a_forecast() -> None:
    def breaks(decibels: np.ndarray, velocity: np.ndarray, leads: int) -> np.ndarray:
        raise np.linalg.LinAlgError("singular matrix")

    rain = moving((48, 60))
    np.testing.assert_array_equal(PystepsNowcast(breaks)(rain, LEADS), extrapolation(rain, LEADS))


def test_a_pixel_that_it_leaves_out_is_extrapolation_s() -> None:
    def half(decibels: np.ndarray, velocity: np.ndarray, leads: int) -> np.ndarray:
        said = np.full((leads, *decibels.shape[1:]), 10.0)  # 10 mm/h
        said[:, :24] = np.nan
        said[:, 24:30] = -15.0
        return said

    rain = moving((48, 60))
    forecast = PystepsNowcast(half)(rain, LEADS)
    np.testing.assert_array_equal(forecast[:, :24], extrapolation(rain, LEADS)[:, :24])
    assert (forecast[:, 24:30] == 0).all()
    assert forecast[:, 30:] == pytest.approx(10.0)


def test_steps_gives_the_mean_and_the_shares_of_the_members_that_pysteps_makes() -> None:
    from pysteps.nowcasts.steps import forecast

    rain = moving((48, 60))
    rates = [0.1, 1.0, 5.0, 200.0]
    ours = steps(members=3, seed=1, pixel_m=1000.0, step_s=300)
    distribution = ours.distribution(rain, LEADS, rates)
    assert not ours.fell_back
    seen = np.isfinite(rain[1:])
    decibels = np.where(seen, DRY_DECIBELS, np.nan)
    np.log10(rain[1:], out=decibels, where=rain[1:] >= DRY)
    decibels[rain[1:] >= DRY] *= 10
    own = {"kmperpixel": 1.0, "timestep": 5, "seed": 1}
    members = forecast(decibels, lucas_kanade(rain[1:]), LEADS, n_ens_members=3, **own, **CASCADE)
    amounts = np.where(members > 10 * np.log10(DRY), 10 ** (members / 10), 0.0)
    amounts[np.isnan(members)] = np.nan
    mean, shares = amounts.mean(axis=0), np.stack([(amounts >= rate).mean(axis=0) for rate in rates], axis=1)
    wet, dry = mean > DRY, mean == 0
    np.testing.assert_allclose(distribution.fields["mean"][wet], mean[wet], rtol=1e-5)
    assert (extrapolation(rain, LEADS)[dry] > DRY).any()  # where no member rains it is dry, whatever comes along
    assert (distribution.fields["mean"][dry] == 0).all()
    np.testing.assert_array_equal(distribution.fields["mean"], ours(rain, LEADS))
    known = np.repeat(np.isfinite(mean)[:, None], 4, axis=1)
    np.testing.assert_allclose(distribution.exceedance[known], shares[known], rtol=1e-6)
    assert 0 < np.isin(shares[known], [1 / 3, 2 / 3]).mean() < 1
    of_extrapolation = certain(extrapolation(rain, LEADS), rates)
    np.testing.assert_array_equal(distribution.exceedance[~known], of_extrapolation[~known])
    assert distribution.members == 3


def test_steps_is_the_mean_of_members_and_the_same_each_time() -> None:
    rain = moving((48, 60))
    one, again, other = (
        steps(members=members, seed=seed, pixel_m=1000.0, step_s=300)(rain, LEADS)
        for members, seed in ((3, 1), (3, 1), (3, 2))
    )
    np.testing.assert_array_equal(one, again)
    assert np.nanmax(np.abs(one - other)) > 0.1
