"""What becomes of a polygon that somebody drew; areas are computed by hand."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon

from pipelines.images.outlines import PART, outlines, read_polygon

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]]


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (None, "aren't pairs of numbers"),
        ("abc", "aren't pairs of numbers"),
        ({"x": 1}, "aren't pairs of numbers"),
        ([1, 2, 3], "aren't pairs of numbers"),
        ([[1, 2], [3]], "aren't pairs of numbers"),
        ([[1, 2, 3], [3, 4, 5], [6, 7, 8]], "aren't pairs of numbers"),
        ([], "0 vertices, and a polygon has at least 3"),
        ([[0, 0], [1, float("nan")], [2, 2]], "isn't a number, or is far away"),
        ([[0, 0], [1, float("inf")], [2, 2]], "isn't a number, or is far away"),
        ([[0, 0], [10**400, 1], [2, 2]], "aren't pairs of numbers"),
        ([[0, 0], [1e9, 0], [2, 2]], "isn't a number, or is far away"),
        ([[5, 5]], "1 vertex, and a polygon has at least 3"),
        ([[0, 0], [5, 5], [0, 0], [5, 5]], "2 vertices, and a polygon has at least 3"),
        ([[0, 0], [5, 5], [9, 9]], "no area"),
        # Two triangles of 25 each that meet in a point.
        ([[0, 0], [10, 10], [10, 0], [0, 10]], "it crosses itself, and its largest part has 50% of it"),
    ],
)
def test_what_is_no_polygon(points, reason):
    with pytest.raises(ValueError, match=reason):
        read_polygon(points)


def test_a_small_loop_is_cut_off():
    # Where it begins, it runs 1 pixel too far and crosses itself: a triangle of area 0.5.
    points = [[0, 0], [10, 0], [10, 10], [0, 10], [0, -1], [1, 0]]
    repaired = read_polygon(points)
    assert repaired.is_valid
    assert repaired.area == pytest.approx(100, abs=0.51)


def test_a_vertex_is_there_once():
    a, b, c, d = SQUARE
    points = shapely.get_coordinates(read_polygon([a, a, b, c, c, d, a, a]))
    assert points.tolist() == [a, b, c, d, a], "closed, as shapely has it"


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=9))
def test_whatever_is_read_is_an_outline(points):
    try:
        polygon = read_polygon(points)
    except ValueError:
        return
    assert polygon.is_valid
    assert polygon.area > 0
    assert not polygon.interiors


def test_inside_it_stays_as_it_is_and_runs_clockwise():
    for points in (SQUARE, SQUARE[::-1]):
        (part,) = outlines(read_polygon(points), [], (20, 20))
        assert part.equals(Polygon(SQUARE))
        x, y = np.array(part.exterior.coords).T
        # The shoelace formula is positive where, with y downward, one sees it run clockwise.
        assert 0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) == 100


def test_what_is_outside_is_cut_off():
    (part,) = outlines(read_polygon([[-4, 0], [6, 0], [6, 10], [-4, 10]]), [], (20, 20))
    assert part.bounds == (0, 0, 6, 10)
    with pytest.raises(ValueError, match="most of it is outside the image"):
        outlines(read_polygon([[-6, 0], [4, 0], [4, 10], [-6, 10]]), [], (20, 20))
    with pytest.raises(ValueError, match=r"^outside the image"):
        outlines(read_polygon([[30, 0], [40, 0], [40, 10]]), [], (20, 20))


def test_what_others_hide_is_cut_off_and_parts_become_outlines():
    post = shapely.box(6, -5, 7, 15)  # leaves 6 × 10 and 3 × 10
    first, second = outlines(read_polygon(SQUARE), [post], (20, 20))
    assert (first.area, second.area) == (60, 30)
    (part,) = outlines(read_polygon(SQUARE), [shapely.box(0.4, -5, 5, 15)], (20, 20))
    assert part.bounds[0] == 5, f"0.4 × 10 are less than {PART} of it"
    with pytest.raises(ValueError, match="hidden by others"):
        outlines(read_polygon(SQUARE), [shapely.box(-1, -1, 11, 11)], (20, 20))


def test_holes_are_filled():
    (part,) = outlines(read_polygon(SQUARE), [shapely.box(4, 4, 6, 6)], (20, 20))
    assert part.area == 100
