"""Probabilities from the neighbourhood, and from climatology, by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from rigid_rain import rigid

from pipelines.common.errors import UserError
from pipelines.nowcast.methods import fields, lagrangian
from pipelines.nowcast.methods.climatology import Climatology
from pipelines.nowcast.methods.extrapolation import extrapolation
from pipelines.nowcast.methods.probability_baselines import climatology, lagrangian_probability, neighbourhood

RATES = [0.5, 2.0]
STILL = np.zeros((3, 41, 51), np.float32)
STILL[:, 20, 25] = 1.0  # one wet pixel, and nothing to track
STILL[:, :, 40:] = np.nan


def test_the_lagrangian_probability_is_the_share_of_a_disc_that_grows_by_a_kilometre_a_minute() -> None:
    forecaster = lagrangian_probability(pixel_m=1000.0, step_s=300, rates=RATES)
    exceedance = forecaster.distribution(STILL, 2, RATES).exceedance
    # 5 pixels across is within 2 of the middle: 1 + 4 · 2 + 4; 10 across is within 5.
    within_5 = sum(x * x + y * y <= 25 for x in range(-5, 5) for y in range(-5, 5))
    np.testing.assert_allclose(exceedance[:, 0, 20, 25], [1 / 13, 1 / within_5], rtol=1e-4)
    assert exceedance[0, 0, 20, 28] == pytest.approx(0, abs=1e-6)
    assert exceedance[1, 0, 20, 28] == pytest.approx(1 / within_5, rel=1e-4)
    np.testing.assert_allclose(exceedance[:, 1, :, :39], 0, atol=1e-6)
    assert np.isnan(exceedance[..., 40:]).all()
    # In pixels of 500 m and steps of 60 s, the first disc is 2 across: a square of 4.
    finer = lagrangian_probability(pixel_m=500.0, step_s=60, rates=RATES)
    assert finer.distribution(STILL, 1, RATES).exceedance[0, 0, 20, 25] == pytest.approx(1 / 4, rel=1e-4)


def test_the_neighbourhood_is_a_square_of_25_km_of_what_is_known_of_the_extrapolated_frame() -> None:
    forecaster = neighbourhood(pixel_m=25000 / 9, rates=RATES)
    rain = STILL.copy()
    rain[:, 3, 3] = rain[:, 20, 38] = 3.0  # near a corner, and near what the radar doesn't see
    distribution = forecaster.distribution(rain, 2, RATES)
    exceedance = distribution.exceedance
    for lead in (0, 1):
        assert exceedance[lead, 0, 20, 25] == exceedance[lead, 0, 16, 29] == np.float32(1 / 81)
        assert exceedance[lead, 0, 20, 30] == 0
        np.testing.assert_allclose(exceedance[lead, :, 0, 0], 1 / 25)
        np.testing.assert_allclose(exceedance[lead, :, 20, 38], 1 / (9 * 5))  # a column next to NaN is unknown
    assert np.isnan(exceedance[..., 40:]).all()
    np.testing.assert_array_equal(distribution.fields["mean"], fields.mean(exceedance, RATES))
    np.testing.assert_array_equal(forecaster(rain, 2), distribution.fields["mean"])
    # 25 km are 5 pixels of 4.8 km, the odd number next to it.
    coarse = neighbourhood(pixel_m=4800.0, rates=RATES).distribution(rain, 1, RATES).exceedance
    assert coarse[0, 0, 20, 25] == np.float32(1 / 25)


def test_the_neighbourhood_moves_on() -> None:
    rain = rigid(3, dx=2, dy=1, shape=(64, 80))
    moved = extrapolation(rain, 3)
    exceedance = neighbourhood(pixel_m=25000.0, rates=RATES).distribution(rain, 3, RATES).exceedance  # of one pixel
    known = np.isfinite(moved)
    np.testing.assert_array_equal(exceedance[:, 0][known], moved[known] >= 0.5)
    assert np.isnan(exceedance[:, 1][~known]).all()


def test_climatology_says_the_same_wherever_something_is_known(tmp_path: Path) -> None:
    file = tmp_path / "climatology.json"
    file.write_text(json.dumps({"rates": [0.5, 1.0, 2.0], "exceedance": [0.25, 0.125, 0.0]}))
    forecaster = climatology(Climatology.read(file))
    rain = rigid(3, dx=2, dy=-1, shape=(64, 80))
    rain[:, 10:12] = np.nan
    exceedance = forecaster.distribution(rain, 3, RATES).exceedance
    known = np.isfinite(lagrangian.advect(np.repeat(rain[-1:], 3, axis=0), lagrangian.motion(rain)))
    known &= np.isfinite(rain[-1])
    assert 0 < (~known).sum() < known.sum()
    for number, share in enumerate((0.25, 0.0)):
        assert (exceedance[:, number][known] == share).all()
        assert np.isnan(exceedance[:, number][~known]).all()
    np.testing.assert_allclose(forecaster(rain, 3)[known], 0.5 * 0.25 + 0.25 * 0.375 + 0.5 * 0.125)
    with pytest.raises(UserError, match="no rain rate of 7 mm/h: run the stage index again"):
        forecaster.distribution(rain, 3, [0.5, 7.0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no climatology, which the stage index writes: .*No such file"),
        ("{", "no climatology, which the stage index writes: "),
        ('{"rates": [0.5, 1]}', "exceedance: missing"),
        ('{"rates": [0.5, 1], "exceedance": [0.5]}', "exceedance: a share for each of rates"),
        ('{"rates": [0.5, 1], "exceedance": [0.5, 1.5]}', "exceedance.1: .* less than or equal to 1"),
        ('{"rates": [1, 0.5], "exceedance": [0.5, 0.1]}', "rates: ascending"),
    ],
)
def test_a_broken_climatology_is_one_line(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "climatology.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=words) as error:
        Climatology.read(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
