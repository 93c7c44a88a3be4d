"""Moving coordinates: rain that moves as we say stays where it is in them."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pipelines.nowcast.methods.lagrangian import advect, align, follow, motion, sample, trajectories


def drift(count: int, dx: int, dy: int, side: int = 160) -> np.ndarray:
    """Showers that only move: dx columns and dy rows a frame; (count, side, side) mm/h."""
    margin = count * max(abs(dx), abs(dy))
    texture = gaussian_filter(np.random.default_rng(1).standard_normal((side + 2 * margin, side + 2 * margin)), 4)
    rain = np.where(texture > 0.2 * texture.std(), np.exp(1.5 * texture / texture.std()), 0).astype(np.float32)
    return np.stack(
        [rain[margin - dy * t : margin - dy * t + side, margin - dx * t : margin - dx * t + side] for t in range(count)]
    )


WHOLE = slice(0, 160), slice(0, 160)


@pytest.mark.parametrize(("dx", "dy"), [(3, -2), (-4, 1), (0, 5)])
def test_drifting_rain_stays_where_it_is(dx: int, dy: int) -> None:
    frames = drift(10, dx, dy)
    seen, future = frames[:4], frames[4:]
    field = motion(seen)
    assert field.shape == (160, 160, 2)
    inside = np.s_[40:-40, 40:-40]
    np.testing.assert_allclose(np.median(field[inside], axis=(0, 1)), [dx, dy], atol=0.15)
    still = [(align(seen, field, *WHOLE)[t], seen[t]) for t in range(3)]
    still += list(zip(follow(future, field, *WHOLE), future, strict=True))
    for moved, there in still:
        known = np.isfinite(moved[inside])
        assert known.mean() > 0.9
        error = np.abs(moved - seen[-1])[inside][known].mean()
        assert error < 0.35 * np.abs(there - seen[-1])[inside][known].mean()
    np.testing.assert_array_equal(align(seen, field, *WHOLE)[3], seen[-1])
    forecast = advect(np.stack([seen[-1]] * 6), field)
    for lead in range(6):
        known = np.isfinite(forecast[lead]) & np.isfinite(future[lead])
        error = np.abs(forecast[lead] - future[lead])[known].mean()
        assert error < 0.35 * np.abs(seen[-1] - future[lead])[known].mean()
    upstream = np.s_[-1, :dy] if dy > 0 else np.s_[-1, dy:]
    assert np.isnan(forecast[upstream]).mean() > 0.5


def test_a_rectangle_is_cut_from_the_whole() -> None:
    frames = drift(8, 3, -2)
    field = motion(frames[:4])
    here = slice(30, 94), slice(50, 98)
    np.testing.assert_allclose(
        align(frames[:4], field, *here), align(frames[:4], field, *WHOLE)[:, 30:94, 50:98], atol=1e-4
    )
    np.testing.assert_array_equal(follow(frames[4:], field, *here), follow(frames[4:], field, *WHOLE)[:, 30:94, 50:98])


@pytest.mark.parametrize("backward", [False, True])
def test_trajectories_of_a_turning_motion_stay_on_their_circle(backward: bool) -> None:
    """The midpoint rule's error of the angle is (ωt)³/6 a step or less, and of the radius (ω)⁴/8: tiny here."""
    side, steps, turn = 101, 12, 2 * np.pi / 48
    y, x = np.mgrid[:side, :side].astype(np.float32) - 50
    field = np.stack([-turn * y, turn * x], -1).astype(np.float32)
    ways = trajectories(field, steps, slice(50, 51), slice(70, 71), backward=backward)
    angle = (-1 if backward else 1) * turn * np.arange(1, steps + 1)
    at = np.stack([way[0, 0] for way in ways]) - 50
    np.testing.assert_allclose(np.hypot(*at.T), 20, atol=0.05)
    np.testing.assert_allclose(at, 20 * np.stack([np.cos(angle), np.sin(angle)], -1), atol=0.2)


def test_outside_nothing_is_known() -> None:
    frame = np.ones((4, 5), np.float32)
    position = np.array([[[-3.0, 1.0], [2.0, 2.0], [2.0, 9.0]]], np.float32)
    for nearest in (False, True):
        np.testing.assert_array_equal(sample(frame, position, nearest=nearest), [[np.nan, 1.0, np.nan]])


@pytest.mark.parametrize("frames", [np.zeros((4, 32, 40)), np.full((4, 32, 40), np.nan)])
def test_no_rain_and_nothing_seen_are_no_error(frames: np.ndarray) -> None:
    field = motion(frames.astype(np.float32))
    np.testing.assert_array_equal(field, np.zeros((32, 40, 2)))
    assert motion(frames[:2].astype(np.float32)).shape == (32, 40, 2)


def test_a_steady_motion_loses_what_comes_over_the_edge_and_no_more() -> None:
    ones = np.ones((3, 24, 40), np.float32)
    whole = slice(0, 24), slice(0, 40)
    np.testing.assert_array_equal(advect(ones, np.zeros((24, 40, 2), np.float32)), ones)
    east = np.tile(np.array([4, 0], np.float32), (24, 40, 1))
    forecast, older, later = advect(ones, east), align(ones, east, *whole), follow(ones, east, *whole)
    x = np.arange(40)
    for step in (1, 2, 3):
        np.testing.assert_array_equal(np.isfinite(forecast[step - 1]), np.tile(x >= 4 * step, (24, 1)))
        np.testing.assert_array_equal(np.isfinite(later[step - 1]), np.tile(x < 40 - 4 * step, (24, 1)))
        np.testing.assert_array_equal(np.isfinite(older[3 - step]), np.tile(x >= 4 * (step - 1), (24, 1)))


def test_values_between_pixels_or_of_the_nearest() -> None:
    frame = np.array([[0, 1], [2, 4]], np.float32)
    between = np.array([[[0.5, 0.0], [0.25, 1.0], [1.0, 0.5]]], np.float32)
    np.testing.assert_allclose(sample(frame, between), [[0.5, 2.5, 2.5]])
    assert sample(frame, between, nearest=True)[0, 1] == 2


def test_what_is_not_seen_within_a_frame_stays_as_large_as_it_is() -> None:
    frame = np.arange(30, dtype=np.float32).reshape(5, 6)
    frame[2, 3] = np.nan
    y, x = np.mgrid[:5, :6].astype(np.float32)
    np.testing.assert_array_equal(sample(frame, np.stack([x, y], -1)), frame)
    np.testing.assert_array_equal(advect(np.stack([frame] * 2), np.zeros((5, 6, 2), np.float32)), [frame, frame])
    near = np.array([[[2.25, 2.0], [2.75, 2.0], [3.0, 1.25]]], np.float32)  # a quarter, three quarters, a quarter of it
    np.testing.assert_allclose(sample(frame, near), [[frame[2, 2], np.nan, frame[1, 3]]])
