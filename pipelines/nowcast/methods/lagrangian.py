"""Coordinates that move with the rain.

A network of convolutions learns slowly what optical flow knows at once: where the rain goes. So the networks here see
each frame as it lies in the coordinates of the newest observed one, and forecast in them; then the forecast is moved on
to its valid time. What is left to learn is growth and decay, and how wrong the motion is.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.common.optical_flow import optical_flow
from pipelines.radar.frame import DRY, Rain

HEAVIEST = 50.0  # mm/h, the brightest that the optical flow sees
SMOOTH = 16.0  # pixels, standard deviation of the Gaussian over which motion is averaged
ECHO = 2.0  # pixels, of the one over the echo that it is weighted by
PAIRS = 3  # newest pairs of frames that the motion is averaged over
BAND = 512  # rows

Displacement = NDArray[np.float32]


def echo_flow(rain_rate: Rain) -> NDArray[np.float32]:
    """Return the dense optical flow of the logarithm of rain rate.

    Parameters
    ----------
    rain_rate : ndarray of shape (T, H, W), mm/h with NaN

    Returns
    -------
    ndarray of shape (T - 1, H, W, 2)
        x and y displacement from each frame to the next, pixels a frame. Where there is no echo it means nothing.
    """
    return np.stack(list(optical_flow(_images(rain_rate), cv2.DISOPTICAL_FLOW_PRESET_FAST)))


def motion(rain_rate: Rain) -> Displacement:
    """Return the motion of the echo, smooth in space and steady in time.

    Parameters
    ----------
    rain_rate : ndarray of shape (T, H, W), mm/h with NaN
        Two frames or more, oldest first; the newest `PAIRS` pairs count.

    Returns
    -------
    ndarray of shape (H, W, 2)
        x and y displacement, pixels a frame: optical flow averaged over its surroundings, weighted by the echo there.
    """
    H, W = rain_rate[0].shape
    total = np.zeros((H, W, 3), np.float32)
    for pair in pairwise(rain_rate[-PAIRS - 1 :]):
        flow = next(optical_flow(_images(pair), cv2.DISOPTICAL_FLOW_PRESET_FAST))
        for band, inner, outer in bands(H, around=int(4 * ECHO)):
            echo = _blur(_brightness(np.fmax(*(frame[outer] for frame in pair))), ECHO)[inner, :, None]
            echo += np.float32(1e-6)
            total[band, :, :2] += flow[band] * echo
            total[band, :, 2:] += echo
        del flow
    smooth = np.empty((H, W, 2), np.float32)
    for band, inner, outer in bands(H, around=int(4 * SMOOTH)):  # of all pairs at once: it takes longest
        blurred = _blur(total[outer], SMOOTH)[inner]
        np.divide(blurred[..., :2], blurred[..., 2:], out=smooth[band])
    return smooth


def bands(rows: int, *, around: int = 0) -> Iterator[tuple[slice, slice, slice]]:
    """Yield bands of a grid's rows, each also in the coordinates of the third: it and ``around`` rows on either side.

    What is done with a band at a time takes the memory of one: a single field of a continent has 0.1 GB.
    """
    for start in range(0, rows, BAND):
        stop, first = min(start + BAND, rows), max(0, start - around)
        yield slice(start, stop), slice(start - first, stop - first), slice(first, min(stop + around, rows))


def trajectories(
    motion: Displacement, steps: int, rows: slice, columns: slice, *, backward: bool
) -> Iterator[Displacement]:
    """Yield the ways along the motion from each pixel of a rectangle, by the midpoint rule.

    Parameters
    ----------
    motion : ndarray of shape (H, W, 2)
    steps : int
        Frames to go.
    rows, columns : slice
        The rectangle, h × w pixels of the grid.
    backward : bool
        Whether to go back in time.

    Yields
    ------
    ndarray of shape (h, w, 2)
        x and y of where one gets after each step, as maps for :func:`sample`.
    """
    position = np.empty((rows.stop - rows.start, columns.stop - columns.start, 2), np.float32)
    position[..., 0] = np.arange(columns.start, columns.stop)
    position[..., 1] = np.arange(rows.start, rows.stop)[:, None]
    sign = np.float32(-1 if backward else 1)
    for _ in range(steps):
        step = np.empty_like(position)  # a new one: who got the last may keep it
        for band, _, _ in bands(len(position)):
            half = _between(motion, position[band])
            half *= sign / 2
            half += position[band]
            np.multiply(_between(motion, half), sign, out=step[band])
        step += position
        position = step
        yield position


def sample(frame: Rain, position: Displacement, *, nearest: bool = False) -> Rain:
    """Return a frame's values at positions, bilinearly or those of the nearest pixel; NaN outside the frame.

    Between a pixel that is seen and one that isn't, the nearer says whether there is a value.

    Parameters
    ----------
    frame : ndarray of shape (H, W), or, bilinearly, (K, H, W) that is NaN at all K or at none
    position : ndarray of shape (h, w, 2)
    """
    if nearest:
        border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": float("nan")}
        return cv2.remap(frame, position, None, cv2.INTER_NEAREST, **border)  # type: ignore[call-overload]
    values = np.empty((*frame.shape[:-2], *position.shape[:2]), np.float32)
    for band, _, _ in bands(len(position)):
        values[..., band, :] = _bilinear(frame, position[band])
    return values


def _bilinear(frame: Rain, position: Displacement) -> Rain:
    rows, columns = reached([position], frame.shape[-2:])
    position = position - np.array([columns.start, rows.start], np.float32)
    planes = frame[..., rows, columns].reshape(-1, rows.stop - rows.start, columns.stop - columns.start)
    seen = np.isfinite(planes[0])
    last = np.array(seen.shape[::-1], np.float32) - 1
    known = ((position >= 0) & (position <= last)).all(-1)
    weight = _between(seen.astype(np.float32), position)
    divisor = np.where(known & (weight >= 0.5), weight, np.float32(np.nan))
    values = np.empty((len(planes), *position.shape[:2]), np.float32)
    for plane, into in zip(planes, values, strict=True):
        # Without NaN: where it counts 0 times, 0 · NaN is NaN.
        np.divide(_between(np.where(seen, plane, np.float32(0)), position), divisor, out=into)
    return values.reshape(*frame.shape[:-2], *position.shape[:2])


def reached(ways: Iterable[Displacement], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns of a grid of ``shape`` (H, W) that values at positions come from."""
    corners = np.array([[(way[..., axis].min(), way[..., axis].max()) for axis in (1, 0)] for way in ways])
    ends = zip(corners[..., 0].min(0), corners[..., 1].max(0), shape, strict=True)
    # A pixel more on either side: positions are rounded, and what lies between two pixels comes from both.
    rows, columns = (slice(int(np.clip(low - 1, 0, n - 1)), int(np.clip(high + 3, 1, n))) for low, high, n in ends)
    return rows, columns


def align(rain_rate: Sequence[Rain] | Rain, motion: Displacement, rows: slice, columns: slice) -> Rain:
    """Return observed frames, moved to where their rain is at the time of the newest.

    Parameters
    ----------
    rain_rate : ndarray of shape (T, H, W) or sequence of T frames, mm/h with NaN
        Oldest first.
    motion : ndarray of shape (H, W, 2)
    rows, columns : slice
        The rectangle that is wanted.

    Returns
    -------
    ndarray of shape (T, h, w)
        The newest frame as it is; NaN where one comes from outside the grid.
    """
    older = rain_rate[-2::-1]
    ways = trajectories(motion, len(older), rows, columns, backward=True)
    moved = [sample(frame, way) for frame, way in zip(older, ways, strict=True)]
    return np.stack([*moved[::-1], rain_rate[-1][rows, columns]])


def follow(rain_rate: Sequence[Rain] | Rain, motion: Displacement, rows: slice, columns: slice) -> Rain:
    """Return later frames, moved back to where their rain was at the time of the newest observed: the network's target.

    Values are those of the nearest pixel, so that rain stays as sharp as it is.

    Parameters
    ----------
    rain_rate : ndarray of shape (steps, H, W) or sequence of frames, mm/h with NaN
        What came, a frame a step.

    Returns
    -------
    ndarray of shape (steps, h, w)
    """
    ways = trajectories(motion, len(rain_rate), rows, columns, backward=False)
    return np.stack([sample(frame, way, nearest=True) for frame, way in zip(rain_rate, ways, strict=True)])


def advect(forecast: Rain, motion: Displacement) -> Rain:
    """Return a forecast in moving coordinates, moved on to its valid times.

    Parameters
    ----------
    forecast : ndarray of shape (steps, H, W), or (steps, K, H, W) that is NaN at all K or at none
    motion : ndarray of shape (H, W, 2)

    Returns
    -------
    ndarray of the same shape
        NaN where the rain comes from outside the grid.
    """
    H, W = forecast.shape[-2:]
    ways = trajectories(motion, len(forecast), slice(0, H), slice(0, W), backward=True)
    moved = np.empty(forecast.shape, np.float32)
    for field, way, into in zip(forecast, ways, moved, strict=True):
        into[...] = sample(field, way)
    return moved


def _images(rain_rate: Sequence[Rain] | Rain) -> NDArray[np.uint8]:
    """Return the brightness of frames as the optical flow wants it."""
    images = np.empty((len(rain_rate), *rain_rate[0].shape), np.uint8)
    for image, frame in zip(images, rain_rate, strict=True):
        for band, _, _ in bands(len(frame)):
            image[band] = 255 * _brightness(frame[band])
    return images


def _brightness(rain_rate: Rain) -> NDArray[np.float32]:
    return (np.log(np.nan_to_num(rain_rate).clip(DRY, HEAVIEST) / DRY) / np.log(HEAVIEST / DRY)).astype(np.float32)


def _blur(field: NDArray[np.float32], pixels: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), pixels), np.float32)


def _between(field: Displacement | Rain, position: Displacement) -> NDArray[np.float32]:
    """Return a field's values bilinearly; outside, those of its border."""
    return cv2.remap(field, position, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
