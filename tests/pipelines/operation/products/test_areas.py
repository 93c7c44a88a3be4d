"""Mean rain of polygons: shares of pixels against points that are counted, and every file that is none in words."""

from pathlib import Path

import numpy as np
import pyproj
import pytest
from archive import GRID_CRS
from geojson import box, feature, written
from matplotlib.path import Path as Outline

from pipelines.common.errors import UserError
from pipelines.operation.products import areas
from pipelines.operation.products.areas import area_means, read_areas
from pipelines.radar.grid import Grid

DEGREES = Grid.from_edges(pyproj.CRS.from_epsg(4326), left=5.0, top=52.0, dx=0.5, dy=0.25, shape=(4, 6))
METRES = Grid.from_edges(GRID_CRS, left=0.0, top=0.0, dx=4000.0, dy=4000.0, shape=(60, 50))


def test_a_mean_is_of_shares_of_pixels_that_are_known(tmp_path: Path) -> None:
    # A whole pixel and half of the one east of it; as two polygons, a pixel each; from the west edge outwards, 5 %.
    whole, hole = box(5.5, 51.5, 6.25, 51.75), box(6.0, 51.5, 6.5, 51.75)
    two = {"type": "Feature", "id": 7, "properties": None}
    two["geometry"] = {"type": "MultiPolygon", "coordinates": [[box(5.0, 51.0, 5.5, 51.25)], [box(7.5, 51, 8, 51.25)]]}
    beyond = feature("edge", box(4.975, 51.75, 5.5, 52.0))
    ring = feature("ring", box(5.5, 51.25, 7.0, 52.0), hole)  # around the pixel of 8
    path = written(tmp_path / "a.geojson", feature("half", whole), two, beyond, ring)
    found, refusals = read_areas(path, DEGREES)
    assert [area.name for area in found] == ["half", "7", "edge", "ring"] and refusals == []
    rain = np.arange(24, dtype=np.float32).reshape(4, 6)
    unknown = rain.copy()
    unknown[1, 2] = np.nan
    given = area_means(np.stack([rain, unknown]), found)
    assert given[0].tolist() == pytest.approx([(7 + 0.5 * 8) / 1.5, (18 + 23) / 2, 0.0, 8.0], abs=1e-5)
    assert found[3].pixels == pytest.approx(8)
    # Two thirds of the first are known, and that is too little; the ring is known as a whole.
    assert np.isnan(given[1]).tolist() == [True, False, False, False]


def test_an_area_that_is_known_but_for_a_little_has_a_mean(tmp_path: Path) -> None:
    found, _ = read_areas(written(tmp_path / "a", feature("all", box(5.0, 51.0, 8.0, 52.0))), DEGREES)
    rain = np.ones((4, 6), np.float32)
    rain[0, :2] = np.nan
    assert area_means(rain, found).tolist() == [1.0]
    rain[0, 2] = np.nan  # 21 of 24, less than 0.9
    assert np.isnan(area_means(rain, found)).all()


@pytest.mark.parametrize("pixels", [10, 700, areas.PIXELS])
def test_shares_are_those_of_points_that_lie_in_the_polygon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    """20 × 20 points a pixel, looked for in longitude and latitude; the projection bends the polygon's sides."""
    monkeypatch.setattr(areas, "PIXELS", pixels)
    corners = [[10.2, 53.1], [12.6, 53.4], [12.4, 54.9], [11.4, 54.0], [10.1, 54.8], [10.2, 53.1]]
    (area,), _ = read_areas(written(tmp_path / "a", feature("bay", corners)), METRES)
    share = np.zeros(METRES.shape)
    share[area.rows, area.columns] = area.share
    offsets = (np.arange(20) + 0.5) * 200.0 - 2000.0
    fine_x, fine_y = (METRES.x[:, None] + offsets).ravel(), (METRES.y[:, None] - offsets).ravel()
    lon, lat = pyproj.Proj(GRID_CRS)(*np.meshgrid(fine_x, fine_y), inverse=True)
    inside = Outline(corners).contains_points(np.stack([lon.ravel(), lat.ravel()], axis=1)).reshape(lon.shape)
    counted = inside.reshape(60, 20, 50, 20).mean(axis=(1, 3))
    np.testing.assert_allclose(share, counted, atol=0.03)
    assert area.pixels == pytest.approx(counted.sum(), rel=1e-3)
    assert {0.0, 1.0} < set(np.unique(share))


BAD = {
    "it lies outside of the grid": feature("far", box(20, 51, 21, 52)),
    "50% of it lies in the grid": feature("out", box(4.5, 51.0, 5.5, 51.5)),
    "no valid polygon: Self-intersection": feature("bow", [[5, 51], [6, 52], [6, 51], [5, 52], [5, 51]]),
    "it is empty": feature("none"),
    "it is a Point, and a Polygon or": feature("point") | {"geometry": {"type": "Point", "coordinates": [5, 51]}},
    "aren't degrees of longitude": feature("metres", box(500_000, 5_000_000, 600_000, 5_100_000)),
    "neither a name nor an id": feature(None, box(5, 51, 6, 52)),
    "another area has this name": feature("good", box(5, 51, 6, 52)),
    "it is no Feature": [1],
    "feature 2 (shape)": feature("shape") | {"geometry": {"type": "Polygon", "coordinates": "x"}},
    "feature 2 (null)": feature("null") | {"geometry": None},
    "feature 2 (nan)": feature("nan", [[5, 51], [float("nan"), 52], [6, 51], [5, 51]]),
}  # fmt: skip


@pytest.mark.parametrize("words", BAD)
def test_a_bad_area_is_a_line_and_the_others_are_there(tmp_path: Path, words: str) -> None:
    found, refusals = read_areas(written(tmp_path / "a", feature("good", box(5, 51, 6, 52)), BAD[words]), DEGREES)
    assert [area.name for area in found] == ["good"]
    assert len(refusals) == 1 and words in refusals[0] and f"{tmp_path / 'a'}: feature 2" in refusals[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not GeoJSON: Expecting property name"),
        ("[" * 100_000, "not GeoJSON: maximum recursion depth"),
        ('{"type": "Topology"}', "a FeatureCollection of features is wanted"),
        ('{"type": "FeatureCollection", "features": []}', "no area in it"),
        ('{"type": "FeatureCollection", "features": [1], "crs": null}', "feature 1: it is no Feature"),
        ('{"type": "FeatureCollection", "features": [], "crs": {"properties": {"name": "EPSG:3035"}}}', "RFC 7946"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "a.geojson"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_areas(path, DEGREES)
    assert words in str(raised.value) and str(path) in str(raised.value)


def test_the_crs_that_gdal_writes_is_taken(tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    found, _ = read_areas(written(tmp_path / "a", feature("good", box(5, 51, 6, 52)), crs=crs), DEGREES)
    assert found[0].pixels == pytest.approx(8)
