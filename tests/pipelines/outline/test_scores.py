"""Scores, baselines and corrections against numbers by hand and shapely's areas."""

import numpy as np
import pytest
import torch
from shapely import Polygon

from pipelines.outline.baselines import box_polygon, ellipse_polygon, traced_polygon
from pipelines.outline.corrections import Corrector
from pipelines.outline.scores import boundary_f, iou, to_mask
from scs_model.networks.outline import CELLS


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return box_polygon(np.array([[x0, y0], [x1, y1]]))


def test_iou_of_rectangles_by_hand() -> None:
    one, other = to_mask(rectangle(10, 20, 110, 120)), to_mask(rectangle(60, 20, 160, 120))
    assert one.sum() == 100 * 100
    assert iou(one, other) == pytest.approx(5000 / 15000)
    assert iou(one, one) == 1
    assert iou(to_mask(np.zeros((2, 2))), to_mask(np.zeros((0, 2)))) == 0
    bow = to_mask(np.array([[0, 0], [100, 100], [100, 0], [0, 100]], float))  # crosses itself: two triangles
    assert bow.sum() == pytest.approx(2 * 2500, rel=0.03)


def test_boundary_f_knows_how_far_off_a_side_is() -> None:
    true = to_mask(rectangle(40, 40, 140, 140))
    shifted = to_mask(rectangle(45, 40, 145, 140))  # by 5 pixels
    assert boundary_f(shifted, true, 5) == 1
    assert 0.4 < boundary_f(shifted, true, 4) < 0.6  # the sides above and below still lie on each other
    assert boundary_f(to_mask(rectangle(180, 180, 200, 200)), true, 8) == 0
    assert boundary_f(np.zeros_like(true), true, 8) == 0


def test_ellipse_and_box() -> None:
    corners = np.array([[20.0, 40.0], [120.0, 100.0]])
    assert Polygon(ellipse_polygon(corners)).area == pytest.approx(np.pi * 50 * 30, rel=0.01)
    assert Polygon(ellipse_polygon(corners)).bounds == pytest.approx((20, 40, 120, 100), abs=0.2)
    assert box_polygon(corners).tolist() == [[20, 40], [120, 40], [120, 100], [20, 100]]


def test_traced_mask_is_the_largest_part() -> None:
    logits = np.full((28, 28), -4.0, np.float32)
    logits[4:14, 6:16], logits[20:22, 20:22] = 4.0, 4.0
    traced = to_mask(traced_polygon(logits))
    assert iou(traced, to_mask(rectangle(48, 32, 128, 112))) > 0.97
    assert not traced[160:176, 160:176].any()
    assert traced_polygon(np.full((28, 28), -1.0, np.float32)).shape == (0, 2)


def certain(*cells: int) -> torch.Tensor:
    return torch.full((len(cells), CELLS + 1), -10.0).scatter(1, torch.tensor(cells)[:, None], 0.0)


def test_corrections_by_hand() -> None:
    """A square whose second vertex is said 3 cells off, which is closed too soon, and not where it ends."""
    a, b, c, d = 2 * 28 + 2, 2 * 28 + 12, 12 * 28 + 12, 12 * 28 + 2
    near_c, off_d = 12 * 28 + 11, 12 * 28 + 5
    said = [near_c, off_d, a, CELLS, 3 * 28 + 3]
    true = np.array([[cell % 28 + 0.5, cell // 28 + 0.5] for cell in (a, b, c, d)])
    for threshold, clicks, accepted in (
        (3, 2, [near_c, off_d, a, b, CELLS]),
        (2, 3, [near_c, d, a, b, CELLS]),
        (0, 4, [c, d, a, b, CELLS]),
    ):
        corrector = Corrector([true], threshold)
        heard = [int(corrector(t, certain(cell)).argmax()) for t, cell in enumerate(said)]
        assert heard == accepted
        assert corrector.clicks == [clicks]
