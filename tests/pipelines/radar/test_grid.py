"""Grids: axes by hand, longitude and latitude by pyproj's plain projection, refusals, differences in words."""

import pickle
import warnings

import numpy as np
import pyproj
import pytest

from pipelines.radar.grid import Grid, pixel_metres

LAEA = "+proj=laea +lat_0=55 +lon_0=10 +x_0=0 +y_0=0 +ellps=WGS84 +units=m"


def a_grid(projection: str = LAEA, *, left=-2000.0, top=3000.0, dx=1000.0, dy=500.0, shape=(4, 6)) -> Grid:
    return Grid.from_edges(pyproj.CRS(projection), left=left, top=top, dx=dx, dy=dy, shape=shape)


def test_from_edges():
    grid = a_grid()
    np.testing.assert_allclose(grid.x, [-1500, -500, 500, 1500, 2500, 3500])
    np.testing.assert_allclose(grid.y, [2750, 2250, 1750, 1250])
    assert grid.shape == (4, 6)
    assert grid.spacing == (500.0, 1000.0)


@pytest.mark.parametrize(
    "projection",
    [
        LAEA,
        "+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +R=6371288 +units=m",
        "+proj=aea +lat_0=-27.7 +lon_0=153.24 +lat_1=-26.2 +lat_2=-29.3 +a=6378137 +b=6356752.31414 +units=m",
    ],
)
def test_lonlat_is_the_projection_and_nothing_else(projection):
    lon, lat = a_grid(projection).lonlat()
    assert lon.shape == lat.shape == (4, 6)
    expected = pyproj.Proj(projection)(2500.0, 1750.0, inverse=True)
    assert (lon[2, 4], lat[2, 4]) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([0, 1, 2], [0, 1, 2], "north to south"),
        ([2, 1, 0], [2, 1, 0], "west to east"),
        ([0, 1, 3], [2, 1, 0], "not evenly spaced"),
        ([0, 1, np.nan], [2, 1, 0], "finite"),
        ([0, 1, 2], [0], "at least two"),
        ([0, 0, 0], [2, 1, 0], "west to east"),
    ],
)
def test_impossible_grids(x, y, reason):
    with pytest.raises(ValueError, match=reason):
        Grid(pyproj.CRS(LAEA), np.array(x, float), np.array(y, float))


def test_same_to_a_tenth_of_a_pixel():
    assert a_grid().difference(a_grid(left=-1910.0)) is None
    assert a_grid().difference(a_grid(left=-1890.0)) == "pixels elsewhere or of another size"
    assert a_grid().difference(a_grid(dy=520.0)) == "pixels elsewhere or of another size"


def test_same_projection_in_other_words():
    other = Grid.from_edges(
        pyproj.CRS.from_wkt(pyproj.CRS(LAEA).to_wkt()), left=-2000.0, top=3000.0, dx=1000.0, dy=500.0, shape=(4, 6)
    )
    assert a_grid().difference(other) is None


def test_differences_in_words_and_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert a_grid().difference(a_grid(shape=(4, 7))) == "4×7 pixels, not 4×6"
        words = a_grid().difference(a_grid(LAEA.replace("lat_0=55", "lat_0=54")))
    assert "lat_0=54" in words.split("not")[0]
    assert "lat_0=55" in words.split("not")[1]


def test_pixels_in_metres() -> None:
    def grid(crs: str, dx: float, dy: float, left: float = 0.0, top: float = 0.0) -> Grid:
        return Grid.from_edges(pyproj.CRS(crs), left=left, top=top, dx=dx, dy=dy, shape=(10, 10))

    assert pixel_metres(grid("EPSG:3035", 1000, 4000)) == pytest.approx(2000)
    in_km = "+proj=laea +lat_0=55 +lon_0=10 +ellps=WGS84 +units=km"
    assert pixel_metres(grid(in_km, 2, 2)) == pytest.approx(2000)
    # 0.01° by 0.01° at 60° north: 1112 m by 556 m.
    degrees = grid("EPSG:4326", 0.01, 0.01, top=60.05)
    assert pixel_metres(degrees) == pytest.approx(np.sqrt(1111.9 * 555.97), rel=1e-3)


def sent(grid: Grid) -> Grid:
    return pickle.loads(pickle.dumps(grid))  # noqa: S301 - ours


def test_pickled_it_is_the_same_and_those_alike_are_one():
    grid = a_grid()
    other, again, elsewhere = (sent(one) for one in (grid, a_grid(), a_grid(left=0.0)))
    assert other == grid
    assert other.crs.to_wkt() == grid.crs.to_wkt()
    np.testing.assert_array_equal(other.x, grid.x)
    np.testing.assert_array_equal(other.y, grid.y)
    assert again is other
    assert elsewhere.x[0] == 500.0
