"""Means over blocks and bilinear interpolation of rain rate, with what is unknown; grids against PROJ."""

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingested import PARAMS, Result, archive, at
from radar_files import name_of, write_odim

from pipelines.common.errors import UserError
from pipelines.params.radar import Regrid
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.frame import Frame
from pipelines.radar.grid import Grid
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.regridding import block_mean, regrid
from pipelines.radar.store import open_frames

LAEA = pyproj.CRS("EPSG:3035")
GRID = Grid.from_edges(LAEA, left=4e6, top=3e6, dx=1000.0, dy=1000.0, shape=(30, 40))


def a_frame(rain_rate: np.ndarray, grid: Grid = GRID) -> Frame:
    return Frame(np.datetime64("2021-01-01", "s"), grid, "instant", 0, None, "a", "b", rain_rate.astype(np.float32))


def test_block_mean_by_hand():
    nan = np.nan
    rain_rate = np.array([[1, 3, nan, 4, 9], [0, 0, nan, nan, nan], [2, 2, nan, nan, 7]], np.float32)
    np.testing.assert_array_equal(block_mean(rain_rate, 2, 0.25), np.float32([[1, 4, 9], [2, nan, 7]]))
    np.testing.assert_array_equal(block_mean(rain_rate, 2, 0.5), np.float32([[1, nan, nan], [2, nan, nan]]))
    np.testing.assert_array_equal(block_mean(rain_rate, 2, 0.0), np.float32([[1, 4, 9], [2, nan, 7]]))


@given(st.integers(1, 5), st.integers(0, 9))
def test_block_mean_keeps_the_amount(factor, seed):
    rain_rate = np.random.default_rng(seed).gamma(0.5, 4, (30, 60)).astype(np.float32)
    if 30 % factor == 0:
        mean = block_mean(rain_rate, factor, 1.0)
        assert mean.shape == (30 // factor, 60 // factor)
        assert mean.mean(dtype=np.float64) == pytest.approx(rain_rate.mean(dtype=np.float64), rel=1e-5)


def test_whole_factor_in_the_own_projection_is_a_mean_of_blocks():
    rain_rate = np.arange(1200.0).reshape(30, 40)
    for crs in (None, "EPSG:3035"):
        frame = regrid(a_frame(rain_rate), Regrid(crs=crs, resolution=2000.0, min_valid=1.0))
        np.testing.assert_allclose(frame.rain_rate, rain_rate.reshape(15, 2, 20, 2).mean(axis=(1, 3)))
        assert frame.grid.spacing == (2000, 2000)
        assert (frame.grid.x[0], frame.grid.y[0]) == (4e6 + 1000, 3e6 - 1000)


def test_bilinear_gives_a_plane_back():
    """A field linear in x and y is what bilinear interpolation is exact for."""
    x, y = np.meshgrid(GRID.x, GRID.y)
    plane = (x - 4e6) / 1e4 + (3e6 - y) / 2e4
    frame = regrid(a_frame(plane), Regrid(crs=None, resolution=1500.0, min_valid=1.0))
    X, Y = np.meshgrid(frame.grid.x, frame.grid.y)
    known = np.isfinite(frame.rain_rate)
    assert known.mean() > 0.85
    np.testing.assert_allclose(frame.rain_rate[known], ((X - 4e6) / 1e4 + (3e6 - Y) / 2e4)[known], atol=1e-4)


def test_another_projection_puts_rain_where_it_fell():
    rain_rate = np.zeros(GRID.shape)
    rain_rate[8:11, 19:22] = 5.0
    frame = regrid(a_frame(rain_rate), Regrid(crs="EPSG:4326", resolution=0.01, min_valid=0.5))
    lon, lat = pyproj.Transformer.from_crs(LAEA, "EPSG:4326", always_xy=True).transform(GRID.x[20], GRID.y[9])
    row, column = np.abs(frame.grid.y - lat).argmin(), np.abs(frame.grid.x - lon).argmin()
    assert frame.rain_rate[row, column] == pytest.approx(5.0)
    assert np.nanmax(frame.rain_rate) == pytest.approx(5.0)
    assert frame.grid.crs.is_geographic
    wet = np.argwhere(frame.rain_rate > 2.5).mean(axis=0)
    assert wet == pytest.approx([row, column], abs=1)
    assert np.isnan(frame.rain_rate[0, 0])  # a corner that isn't in the radar's grid
    offsets = np.array([frame.grid.x[0] - 0.005, frame.grid.y[0] + 0.005]) / 0.01
    np.testing.assert_allclose(offsets, np.rint(offsets), atol=1e-6)


def test_what_is_unknown_stays_so():
    rain_rate = np.ones(GRID.shape)
    rain_rate[:, 21:] = np.nan
    strict, lax = (
        regrid(a_frame(rain_rate), Regrid(crs=None, resolution=1500.0, min_valid=share)).rain_rate
        for share in (1.0, 0.3)
    )
    assert np.isfinite(strict).sum() < np.isfinite(lax).sum() < 0.6 * lax.size
    assert np.nanmax(np.abs(lax - 1)) < 1e-6


def test_wrong_parameters_are_named():
    frame = a_frame(np.ones(GRID.shape))
    with pytest.raises(UserError, match=r"regrid\.crs: 'EPSG:0'"):
        regrid(frame, Regrid(crs="EPSG:0", resolution=1.0, min_valid=0.5))


@pytest.mark.parametrize(
    ("crs", "resolution", "words"),
    [
        ("EPSG:4326", 20.0, r"regrid\.resolution: 20 leaves 1×1 pixels"),
        (None, 30_000.0, r"regrid\.resolution: 30000 leaves 1×2 pixels"),
        (None, 1e-9, r"too large: a frame of \d+ pixels"),
    ],
)
def test_a_grid_of_too_few_or_too_many_pixels_is_not_made(crs, resolution, words):
    with pytest.raises(ValueError, match=words):
        regrid(a_frame(np.ones(GRID.shape)), Regrid(crs=crs, resolution=resolution, min_valid=0.5))


def test_a_store_on_another_grid(tmp_path):
    archive(tmp_path / "in", 3)
    write_odim(tmp_path / "in" / name_of(at(5)), np.ones((9, 9), np.uint8), at(5))
    params = PARAMS.model_copy(update={"regrid": Regrid(crs=None, resolution=2000.0, min_valid=0.5)})
    result = Result(tmp_path)
    ingest_radar(tmp_path / "in", result.store, result.table, result.quality, params)
    dataset = open_frames(result.store)
    assert dataset["rainfall_flux"].shape == (3, 6, 8)
    assert grid_of(dataset).spacing == pytest.approx((2000, 2000))
    assert set(result.reasons) == {name_of(at(5))}
    before = result.bytes
    ingest_radar(tmp_path / "in", result.store, result.table, result.quality, params)
    assert result.bytes == before
