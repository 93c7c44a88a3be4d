"""The embedded scenes are what is said of them, and ingestion finds in them what was drawn."""

import numpy as np
import pytest
from image_files import small_store
from shapely import Polygon

from pipelines.common.provenance import sha256
from pipelines.images import simulate
from pipelines.images.crops import open_crops
from pipelines.images.silhouettes import SHAPES, draw_silhouette
from pipelines.images.simulate import HIDDEN, place, simulate_images
from pipelines.params.images import SimulateImages

CONCAVE = {"crescent", "star"}
SMOOTH = {"pebble", "leaf", "crescent"}
PARAMS = SimulateImages(seed=3, cities=4, scenes=2, objects=6, height=64)


@pytest.mark.parametrize("name", SHAPES)
def test_silhouettes(name):
    for seed in range(100):
        points = draw_silhouette(np.random.default_rng(seed), name)
        polygon = Polygon(points)
        assert polygon.is_valid
        assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)
        assert (polygon.area / polygon.convex_hull.area < 0.8) == (name in CONCAVE)
        assert (len(points) >= 20) == (name in SMOOTH)


def test_a_third_is_concave_and_half_of_each_is_seen():
    for seed in range(20):
        objects = place(np.random.default_rng(seed), 6, 96, 192)
        assert len(objects) == 6
        assert {name for name, _ in objects} == set(SHAPES)
        polygons = [Polygon(points) for _, points in objects]
        for name, polygon in zip([name for name, _ in objects], polygons, strict=True):
            ratio = polygon.area / polygon.convex_hull.area
            assert ratio < 0.85 if name in CONCAVE else ratio > 0.85  # in whole pixels
        for number, polygon in enumerate(polygons):
            for other in polygons[number + 1 :]:
                polygon = polygon.difference(other)
            assert polygon.area >= (1 - HIDDEN) * polygons[number].area
            x0, y0, x1, y1 = polygons[number].bounds
            assert x0 >= 0 and y0 >= 0 and x1 <= 192 and y1 <= 96


def test_some_are_hidden_in_part():
    hidden = 0
    for seed in range(20):
        polygons = [Polygon(points) for _, points in place(np.random.default_rng(seed), 6, 96, 192)]
        hidden += sum(polygon.intersects(other) for i, polygon in enumerate(polygons) for other in polygons[i + 1 :])
    assert 10 < hidden < 100, "of 120 objects"


def test_the_same_files_each_time(tmp_path):
    for name in "ab":
        simulate_images(tmp_path / name, PARAMS)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    simulate_images(tmp_path / "b", PARAMS.model_copy(update={"seed": 4}))
    assert sha256(tmp_path / "a") != sha256(tmp_path / "b")


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_drawn_is_where_the_polygon_says(name, monkeypatch):
    """White on black: how much of each pixel is covered."""
    monkeypatch.setattr(simulate, "_shades", lambda *_: np.ones((2, 3)))
    y, x = np.mgrid[:64, :128] + 0.5
    for seed in range(5):
        rng = np.random.default_rng(seed)
        points = np.rint(draw_silhouette(rng, name) * 25 + [60, 30]).astype(int)
        share = simulate.render(np.zeros((64, 128, 3)), [points], rng)[..., 0] / 255
        polygon = Polygon(points)
        assert share.sum() == pytest.approx(polygon.area, abs=0.1 * polygon.length)
        assert (share * x).sum() / share.sum() == pytest.approx(polygon.centroid.x, abs=0.2)
        assert (share * y).sum() / share.sum() == pytest.approx(polygon.centroid.y, abs=0.2)


def test_ingested(tmp_path):
    crops = open_crops(small_store(tmp_path))
    assert set(crops.classes) == set(SHAPES)
    assert crops.attributes["layout"] == "cityscapes"
    assert (tmp_path / "quarantine.csv").read_text() == "file,reason\n"
    assert crops.table["group"].nunique() == 4
    assert crops.table["split"].value_counts().index.isin(["train", "validation", "test"]).all()
    assert crops.table["split"].nunique() == 3
