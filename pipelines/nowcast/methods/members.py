"""Members: rain fields that a distribution's probabilities are the shares of, with the structure of rain.

A Gaussian field says of each pixel how far up in its distribution a member is. It is the noise of STEPS without STEPS'
forecast: what a scale of the newest frame has forgotten by a lead time is drawn anew, so that errors are small-scale at
first and grow into the spectrum of the frame itself. It is correlated in time in coordinates that move with the rain.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import ndtr, ndtri

from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.distribution import Exceedance
from pipelines.nowcast.methods.steps import FEWEST_WET
from pipelines.nowcast.methods.tiles import bands_of
from pipelines.radar.frame import DRY, Rain

THREADS = 2  # that a member is drawn by
OLDEST = 3  # frames back: the longest memory that is measured, which errs less at an hour than that of a step
LAGS = 8.0  # of the frame's shorter side one part is the standard deviation of the window over lags
TAIL = 0.5  # of the highest rate: by so much rain beyond it exceeds it, on average


class Spectrum(NamedTuple):
    """Structure of rain on a torus, by wavenumber as of rfft2, (M, N // 2 + 1).

    Parameters
    ----------
    power : ndarray
        Of the newest frame.
    memory : ndarray
        Correlation from a frame to the next in moving coordinates, 0 to less than 1.
    """

    power: NDArray[np.float32]
    memory: NDArray[np.float32]


def draw_members(
    exceedance: Exceedance, rates: Sequence[float], rain_rate: Rain, *, count: int, seed: int
) -> Iterator[Rain]:
    """Yield members of a forecast, one after the other.

    Each reaches a rate at a pixel with the probability that was forecast. Between rates its rain is interpolated in the
    logarithm, below the lowest it is 0, beyond the highest exponential with a mean excess of `TAIL` of that rate.

    Parameters
    ----------
    exceedance : ndarray of shape (leads, K, H, W)
    rates : sequence of K floats
        mm/h, ascending.
    rain_rate : ndarray of shape (T, H, W), mm/h with NaN
        The observed frames that it was forecast from, two or more.
    count : int
    seed : int
        The same one draws the same members, of which a larger ``count`` only draws more.

    Yields
    ------
    ndarray of shape (leads, H, W), mm/h
        NaN where the exceedance is.

    References
    ----------
    Bowler et al. 2006, doi:10.1256/qj.04.100 (STEPS); Schefzik et al. 2013, doi:10.1214/13-STS443 (copulas).
    """
    for member in draw_by_lead(exceedance, rates, rain_rate, count=count, seed=seed):
        yield np.stack(list(member))


def draw_by_lead(
    exceedance: Exceedance, rates: Sequence[float], rain_rate: Rain, *, count: int, seed: int
) -> Iterator[Iterator[Rain]]:
    """Yield each of :func:`draw_members` as it is drawn, a lead time after the other: one field is in memory.

    Yields
    ------
    iterator of ndarray of shape (H, W), mm/h
    """
    leads, _, H, W = exceedance.shape
    motion = lagrangian.motion(rain_rate)
    noise = Noise(spectrum_of(rain_rate[-1 - OLDEST :], motion), leads)

    def draw(number: int, threads: ThreadPoolExecutor) -> Iterator[Rain]:
        fields = noise.fields(np.random.default_rng((seed, number)))
        ways = lagrangian.trajectories(motion, leads, slice(0, H), slice(0, W), backward=True)
        for of_lead, field, way in zip(exceedance, fields, ways, strict=True):
            member = np.empty((H, W), np.float32)
            of_part = partial(_rain, rates=rates, noise=field)
            for rows in bands_of(exceedance):
                here = np.asarray(of_lead[:, rows])  # by one thread: of a continent it is 0.2 GB
                parts = min(4 * THREADS, here.shape[1])
                in_parts = np.array_split(here, parts, axis=1), np.array_split(way[rows], parts)
                for into, rain in zip(
                    np.array_split(member[rows], parts), threads.map(of_part, *in_parts), strict=True
                ):
                    into[...] = rain
            del here, in_parts
            yield member

    with ThreadPoolExecutor(THREADS) as threads:
        for number in range(count):
            yield draw(number, threads)


def _rain(
    exceedance: Exceedance, way: lagrangian.Displacement, rates: Sequence[float], noise: NDArray[np.float32]
) -> Rain:
    """Return a band of a member's rows (h, W), whose noise comes along its ways (h, W, 2)."""
    # The nearest pixel: between pixels noise would vary less.
    here = cv2.remap(noise, way, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP)  # type: ignore[call-overload]
    return quantiles(exceedance, rates, ndtr(-here))


class Noise:
    """Gaussian fields of a spectrum and variance 1, for some lead times one after the other.

    In each wavenumber what is remembered fades by its memory and what is new comes in; at first all is remembered.
    """

    def __init__(self, spectrum: Spectrum, leads: int) -> None:
        power, self.memory = spectrum
        width = power.shape[1]
        self.shape = len(power), 2 * (width - 1)
        # Inner columns stand for their conjugates too; of the first and the last irfft2 takes the real part alone.
        edge = np.arange(width) % (width - 1) == 0
        self.amplitude = np.sqrt(power) * np.where(edge, np.sqrt(2), 1).astype(np.float32)
        self.new = np.sqrt(1 - self.memory**2)
        self.scales, variance = list[np.float32](), np.zeros_like(power)
        for _ in range(leads):
            variance = self.memory**2 * variance + self.new**2
            total = (np.where(edge, np.float32(2), np.float32(4)) * power * variance).sum(dtype=np.float64)
            self.scales.append(np.float32(1 / np.sqrt(total)))

    def fields(self, rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
        """Yield the noise (M, N) of a member."""
        error: NDArray[np.complex64] = np.zeros(self.memory.shape, np.complex64)
        for scale in self.scales:
            drawn = rng.standard_normal((*error.shape, 2), np.float32).view(np.complex64)[..., 0]
            drawn *= self.new
            error *= self.memory
            error += drawn
            np.multiply(error, self.amplitude, out=drawn)
            drawn *= scale
            field = fft.irfft2(drawn, self.shape, norm="forward", overwrite_x=True, workers=THREADS)
            del drawn  # not beside what becomes of it
            yield field


def spectrum_of(rain_rate: Rain, motion: lagrangian.Displacement) -> Spectrum:
    """Return the structure of the newest of some frames, and how much of it those before knew.

    Of normal scores under a taper, as what is mapped through distributions is Gaussian, beneath where it is dry as
    well: :func:`censored_correlation`. Power is smooth, as that of lags within reach (Blackman and Tukey); memory is of
    octaves.
    Of a frame with less than `FEWEST_WET` pixels of rain, or the same everywhere, nothing can be estimated, nor a
    single frame's memory: power is then k^-2.5 and memory exp(-(4.5 k)^1.5), k in cycles a pixel, as it was on average
    of composites of 1 km and 5 minutes (MeteoSwiss, KNMI, FMI).

    Parameters
    ----------
    rain_rate : ndarray of shape (T, H, W), mm/h with NaN
    motion : ndarray of shape (H, W, 2)
    """
    from scipy.signal.windows import tukey  # here: all of scipy.signal takes a second to import

    H, W = rain_rate.shape[1:]
    M, N = fft.next_fast_len(H), 2 * fft.next_fast_len(-(-W // 2))
    rows, columns = fft.fftfreq(M).astype(np.float32)[:, None], fft.rfftfreq(N).astype(np.float32)
    wavenumber = np.hypot(rows, columns)
    wavenumber[0, 0] = min(1 / M, 1 / N)
    power, memory = wavenumber**-2.5, np.exp(-((4.5 * wavenumber) ** 1.5))
    if _has_structure(rain_rate[-1]):
        taper = np.outer(tukey(H, 0.5, sym=False), tukey(W, 0.5, sym=False)).astype(np.float32)
        newest = _transform(rain_rate[-1], taper, (M, N))
        lags = np.hypot(rows * M, fft.fftfreq(N).astype(np.float32) * N)
        window = np.exp(-((lags / (min(H, W) / LAGS)) ** 2) / 2)
        correlation = fft.irfft2(np.abs(newest) ** 2, (M, N))
        correlation /= correlation[0, 0]
        table = censored_correlation(_dry_share(rain_rate[-1]))
        for row in correlation:  # one by one: interp takes and gives float64
            row[...] = np.interp(row, *table)
        power = fft.rfft2(correlation * window).real.clip(0)
        if len(rain_rate) > 1 and _has_structure(rain_rate[0]):
            steps = len(rain_rate) - 1
            ways = lagrangian.trajectories(motion, steps, slice(0, H), slice(0, W), backward=True)
            (way,) = deque(ways, maxlen=1)
            oldest = _transform(lagrangian.sample(rain_rate[0], way), taper, (M, N))
            memory = _memory(newest, oldest, wavenumber, steps)
    return Spectrum(power, memory.clip(0, 0.999))


def _has_structure(frame: Rain) -> bool:
    rain = np.nan_to_num(frame)
    return bool((rain >= DRY).sum() >= FEWEST_WET and np.ptp(rain) > DRY)


def _transform(frame: Rain, taper: Rain, shape: tuple[int, int]) -> NDArray[np.complex64]:
    """Fourier transform of a frame's normal scores, less their mean; what is dry or unseen lies just below all rain."""
    from scipy.stats import rankdata  # half a second to import

    wet, dry = frame >= DRY, _dry_share(frame)
    scores = np.full(frame.shape, ndtri(dry) if 0 < dry < 1 else 0, np.float32)
    scores[wet] = ndtri(dry + (1 - dry) * (rankdata(frame[wet]) - 0.5) / max(wet.sum(), 1))
    return fft.rfft2((scores - (scores * taper).sum() / taper.sum()) * taper, shape)


def _dry_share(frame: Rain) -> float:
    """Return the share of what is seen that is dry."""
    return float(1 - (frame >= DRY).sum() / max(np.isfinite(frame).sum(), 1))


def censored_correlation(dry: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return correlations of max(z, t), and of z itself, z being Gaussian and below t with probability ``dry``.

    Where it is dry the field is flat, with a kink at the edge of rain: rough beside what lies beneath. By Price's
    theorem the covariance C of max(z, t) at a correlation r of z has dC/dr = P(z > t, z' > t), and that has
    dP/dr = exp(-t² / (1 + r)) / (2π sqrt(1 - r²)).

    Returns
    -------
    tuple of ndarray
        Both ascending, for `numpy.interp`.

    References
    ----------
    Price 1958, doi:10.1109/TIT.1958.1057444.
    """
    from scipy.integrate import cumulative_trapezoid  # a third of a second to import

    angle = np.linspace(-np.pi / 2, np.pi / 2, 2001)  # r = sin(angle): finest near 1
    r, middle = np.sin(angle), 1000
    both = cumulative_trapezoid(np.exp(-(ndtri(dry) ** 2) / np.maximum(1 + r, 1e-9)) / (2 * np.pi), angle, initial=0)
    both = (both - both[middle] + (1 - dry) ** 2).clip(0)  # less by the trapezoids' error, near r = -1
    covariance = cumulative_trapezoid(both, r, initial=0)
    covariance -= covariance[middle]
    return covariance / covariance[-1], r


def _memory(
    newest: NDArray[np.complex64], oldest: NDArray[np.complex64], wavenumber: NDArray[np.float32], steps: int
) -> NDArray[np.float32]:
    """Correlation a step from that of octaves over some ``steps``, linear in the octave between their centres."""
    octave = -np.log2(wavenumber)
    number = octave.astype(np.intp).ravel()
    together, first, second = (
        np.bincount(number, (a * b.conj()).real.ravel())
        for a, b in ((newest, oldest), (newest, newest), (oldest, oldest))
    )
    known = first * second > 0
    correlation = (together[known] / np.sqrt(first * second)[known]).clip(1e-3) ** (1 / steps)
    return np.interp(octave, np.flatnonzero(known) + 0.5, correlation).astype(np.float32)


def quantiles(exceedance: Exceedance, rates: Sequence[float], level: NDArray[np.float32]) -> Rain:
    """Return the rain rate that is exceeded with the probability ``level``, (H, W); see :func:`draw_members`.

    Parameters
    ----------
    exceedance : ndarray of shape (K, H, W)
    level : ndarray of shape (H, W), 0 to 1
    """
    rain = exceedance[0] * np.float32(0)
    wet = np.flatnonzero(level < exceedance[0])
    u, p = level.ravel()[wet], exceedance.reshape(len(rates), -1)[:, wet]
    reached = (u < p).sum(axis=0) - 1
    pixel = np.arange(len(wet))
    above, below = p[reached, pixel], p[np.minimum(reached + 1, len(rates) - 1), pixel]
    lowest = np.array(rates, np.float32)
    logs = np.log(np.append(lowest, lowest[-1]))
    share = (above - u) / np.maximum(above - below, np.float32(1e-6))
    between = np.exp(logs[reached] + share * np.diff(logs)[reached])
    beyond = lowest[-1] * (1 + np.float32(TAIL) * np.log(above / np.maximum(u, np.float32(1e-9))))
    rain.ravel()[wet] = np.where(reached == len(rates) - 1, beyond, between)
    return rain
