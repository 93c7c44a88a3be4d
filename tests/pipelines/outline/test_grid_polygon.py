"""Polygons on the grid: known shapes, and what any simplified polygon is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon

from pipelines.outline.grid_polygon import cells_of, signed_area, to_grid, to_pixels
from pipelines.outline.samples import rasterise


def star(points: int, seed: int) -> np.ndarray:
    """A star-shaped polygon in pixels."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, points))
    return 112 + rng.uniform(30, 110, points)[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)


def test_a_square_keeps_its_corners_clockwise_and_nothing_between() -> None:
    along = np.linspace(40, 168, 17)[:-1]
    one, other = np.full(16, 40.0), np.full(16, 168.0)
    back = 208 - along
    # Anticlockwise as one sees it: down the left side first.
    sides = [(one, along), (along, other), (other, back), (back, one)]
    vertices = to_grid(np.concatenate([np.stack(side, -1) for side in sides]), 40)
    assert {tuple(vertex) for vertex in vertices} == {(5.0, 5.0), (21.0, 5.0), (21.0, 21.0), (5.0, 21.0)}
    assert signed_area(vertices) == pytest.approx(16 * 16)
    first = list(map(tuple, vertices)).index((5.0, 5.0))
    assert np.roll(vertices, -first, axis=0)[1].tolist() == [21.0, 5.0]  # along the top first


@given(st.integers(3, 60), st.integers(0, 10**6))
def test_any_polygon_is_simple_enough(points: int, seed: int) -> None:
    polygon = star(points, seed)
    vertices = to_grid(polygon, 20)
    assert len(vertices) <= 20
    cells = cells_of(vertices)
    assert (cells != np.roll(cells, 1)).all() or len(cells) == 1
    assert ((vertices >= 0) & (vertices < 28)).all()
    # Where it starts, and which way round, makes no difference.
    other = to_grid(np.roll(polygon, seed % points, axis=0)[::-1], 20)
    np.testing.assert_allclose(sorted(map(tuple, other)), sorted(map(tuple, vertices)))


def test_simplified_it_stays_near() -> None:
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = 112 + 80 * np.stack([np.cos(angle), np.sin(angle)], -1)
    kept = Polygon(to_pixels(to_grid(circle, 40)))
    assert kept.hausdorff_distance(Polygon(circle)) <= 4.01  # half a cell
    assert len(kept.exterior.coords) < 30


def test_what_is_thinner_than_a_cell_has_no_polygon() -> None:
    assert len(to_grid(np.array([[10.0, 10], [12, 10], [12, 12], [10, 12]]), 40)) < 3


def test_what_crosses_itself_where_it_is_simplified_is_one_polygon_all_the_same() -> None:
    """Two squares that a corridor joins, thinner than the tolerance: without it they would be two."""
    low, high = 110.0, 111.0
    left, right = [[96, high], [96, 150], [40, 150], [40, 70], [96, 70], [96, low]], [[128, low], [128, 70], [190, 70]]
    vertices = to_grid(np.array([*left, *right, [190, 150], [128, 150], [128, high]]), 40)
    assert vertices[:, 0].min() == 5
    assert vertices[:, 0].max() == 190 / 8


def test_cells_are_numbered_row_by_row() -> None:
    assert cells_of(np.array([[3.9, 2.0], [0, 0], [28, 28]])).tolist() == [2 * 28 + 3, 0, 783]


def test_mask_and_edges_of_a_rectangle() -> None:
    """A rectangle of 10 × 6 whole cells, from cell (4, 8)."""
    mask, edges = rasterise(np.array([[32, 64], [112, 64], [112, 112], [32, 112]], float))
    wanted = np.zeros((28, 28), bool)
    wanted[8:14, 4:14] = True
    np.testing.assert_array_equal(mask, wanted)
    inner = np.zeros_like(wanted)
    inner[9:13, 5:13] = True
    assert not (edges & inner).any()
    assert edges[8, 4:14].all()
