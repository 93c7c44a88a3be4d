"""A simulated road, and a car on it whose driver steers with a lag."""

from dataclasses import dataclass
from math import atan, ceil, cos, degrees, sin

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Array = NDArray[np.float64]

SMOOTH_M, SPREAD, STRAIGHT, TIGHTEST = 14.0, 0.016, 0.006, 0.03  # of the curvature: metres, and 1/m
AHEAD_M = 100  # of the road beyond a drive's end, to look at
SPEED, SPEED_SPREAD = 10.0, 1.5  # m/s
WHEELBASE_M, STEERING_RATIO = 2.7, 15.0
# The driver looks ahead for less time than hands and car then take: the wheel follows what was seen a second ago.
PREVIEW_S, DELAY_S, LAG_S = 0.6, 0.3, 0.7
BACK_TO_LANE, BACK_TO_DIRECTION = 0.0025, 0.1  # curvature for each metre, and each radian, that the car is off
LONGEST_STEP_S = 0.02


@dataclass(frozen=True)
class Drive:
    """A car's way along a road, at regular times: arrays of shape (T,), but for the road's curvature.

    Parameters
    ----------
    angle : ndarray
        Of the wheel, degrees, positive to the right.
    speed : ndarray
        m/s.
    way : ndarray
        Along the road's centre, m.
    offset, turn : ndarray
        Of the car from the road's centre (to the right, m) and direction (clockwise, radians).
    x, y, heading : ndarray
        Where the car is in the world (m) and its direction (clockwise, radians).
    hidden : ndarray
        How much other cars hide the road, from 0 to 1.
    wander : ndarray
        Of those cars from their lanes, m.
    curvature : ndarray
        Of the road at each whole metre, 1/m, positive to the right.
    """

    angle: Array
    speed: Array
    way: Array
    offset: Array
    turn: Array
    x: Array
    y: Array
    heading: Array
    hidden: Array
    wander: Array
    curvature: Array


def draw_curvature(rng: np.random.Generator, metres: int) -> Array:
    """Draw a road's curvature at each metre, 1/m: it varies smoothly, and is zero where it would be slight."""
    smooth = gaussian_filter1d(rng.normal(size=metres), SMOOTH_M)
    smooth *= SPREAD / smooth.std()
    return (np.sign(smooth) * np.clip(np.abs(smooth) - STRAIGHT, 0, None)).clip(-TIGHTEST, TIGHTEST)


def draw_drive(rng: np.random.Generator, seconds: int, rate: int) -> Drive:
    """Draw a road and drive along it for so long; values are those at ``rate`` times a second."""
    per_frame = ceil(1 / rate / LONGEST_STEP_S)
    steps, step = seconds * rate * per_frame, 1 / rate / per_frame
    speed = gaussian_filter1d(rng.normal(size=steps), 3 / step)
    speed = SPEED + SPEED_SPREAD * np.clip((speed - speed.mean()) / speed.std(), -2, 2)
    curvature = draw_curvature(rng, int(speed.sum() * step) + AHEAD_M + 20)
    metres = np.arange(len(curvature))
    wanted = [0.0] * round(DELAY_S / step)  # what the hands have yet to do
    s = offset = turn = x = y = heading = angle = 0.0
    states = np.empty((steps, 7))
    for i, v in enumerate(speed):
        states[i] = s, offset, turn, x, y, heading, angle
        seen = np.interp(s + v * PREVIEW_S, metres, curvature) - BACK_TO_LANE * offset - BACK_TO_DIRECTION * turn
        wanted.append(STEERING_RATIO * degrees(atan(WHEELBASE_M * seen)))
        angle += (wanted[i] - angle) * step / LAG_S
        bend = np.tan(np.radians(angle / STEERING_RATIO)) / WHEELBASE_M
        x, y = x + v * sin(heading) * step, y + v * cos(heading) * step
        s, offset = s + v * cos(turn) * step, offset + v * sin(turn) * step
        turn += v * (bend - np.interp(s, metres, curvature)) * step
        heading += v * bend * step
    every = np.arange(0, steps, per_frame)
    way, offsets, turns, xs, ys, headings, angles = states[every].T
    wander = gaussian_filter1d(rng.normal(size=(3, len(every))), rate, axis=1)
    return Drive(
        *(angles, speed[every], way, offsets, turns, xs, ys, headings, _draw_hidden(rng, len(every), rate)),
        wander=0.4 * wander / wander.std(),
        curvature=curvature,
    )


def _draw_hidden(rng: np.random.Generator, frames: int, rate: int) -> Array:
    """Draw when cars hide the road: for 2 to 4 seconds, with 4 to 10 between; half a second to come and to go."""
    hidden, at = np.zeros(frames), rng.uniform(1, 8)
    while at * rate < frames:
        length = rng.uniform(2, 4)
        t = np.arange(frames) / rate
        hidden = np.maximum(hidden, np.clip(np.minimum(t - at, at + length - t) / 0.5, 0, 1))
        at += length + rng.uniform(4, 10)
    return hidden
