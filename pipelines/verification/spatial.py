"""Spatial verification: neighbourhoods (FSS) and spectra (RAPSD), as sums that add up over forecasts."""

from collections.abc import Sequence
from contextlib import redirect_stdout

import cv2
import numpy as np
from numpy.typing import NDArray

WAVELENGTHS_KM = (4, 6, 8, 12, 16, 24, 32, 48, 64)  # centres of bands that touch each other
WET_RATE, WET_AREA_RATIO = 0.1, 0.01  # mm/h, and the share of the square that must reach it: noise has no spectrum
MOST = 3.0  # of |log10 ratio|: a forecast without any rain is a thousand times too smooth, and not infinitely so


def fss_sums(
    forecast: NDArray[np.bool_] | NDArray[np.float32], observed: NDArray[np.bool_], size: int
) -> tuple[float, float]:
    """Return numerator and denominator of FSS = 1 - error / reference; each may be summed over forecasts before.

    Parameters
    ----------
    forecast, observed : ndarray of shape (H, W)
        Where there is an event, or of a forecast its probability. A masked pixel, as what lies beyond the grid, is none
        in either: beside such pixels the fractions of both are smaller and count for less, and the same for every
        method.
    size : int
        Rows and columns of the neighbourhood, pixels.

    Returns
    -------
    error, reference : float
        Σ(S_f - S_o)² and Σ(S_f² + S_o²), with S the share of the events in the neighbourhood of each pixel.

    References
    ----------
    Roberts and Lean 2008, doi:10.1175/2007MWR2123.1.
    """
    of_forecast, of_observed = (
        cv2.blur(field.astype(np.float32), (size, size), borderType=cv2.BORDER_CONSTANT).astype(np.float64)
        for field in (forecast, observed)
    )
    error = np.square(of_forecast - of_observed).sum()
    return float(error), float(np.square(of_forecast).sum() + np.square(of_observed).sum())


def valid_square(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return rows and columns of the largest square of true pixels of an odd side; empty if there is none."""
    padded = np.pad(mask, 1).astype(np.uint8)
    reach = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(int(reach.argmax()), mask.shape)
    side = max(int(reach[row, column]), 0)  # pixels from the centre to the first false one
    half = side - 1
    return (slice(row - half, row + side), slice(column - half, column + side)) if side else (slice(0), slice(0))


def spectra(rain_rate: NDArray[np.floating], pixel_m: float) -> NDArray[np.float64]:
    """Return radially averaged power spectral density (pysteps' RAPSD), in bands around `WAVELENGTHS_KM`.

    The squares are tapered by a Hann window: what the edges cut would else look like small-scale rain.

    Parameters
    ----------
    rain_rate : ndarray of shape (leads, N, N), mm/h, finite

    Returns
    -------
    ndarray of shape (leads, wavelengths), (mm/h)²
        NaN for bands that the square doesn't resolve: longer than half of its side, or too short for its pixels.
    """
    with redirect_stdout(None):  # it prints where its configuration lies
        from pysteps.utils.spectral import rapsd

    leads, N, _ = rain_rate.shape
    power = np.full((leads, len(WAVELENGTHS_KM)), np.nan)
    if N < 8:
        return power
    taper = np.outer(np.hanning(N), np.hanning(N))
    steps = np.diff(np.log(WAVELENGTHS_KM)) / 2
    middles = np.log(WAVELENGTHS_KM)
    edges = np.concatenate([[middles[0] - steps[0]], middles[1:] - steps, [middles[-1] + steps[-1]]])
    for lead in range(leads):
        density, frequency = rapsd(rain_rate[lead] * taper, fft_method=np.fft, return_freq=True, d=pixel_m / 1000)
        band = np.digitize(-np.log(frequency[1:]), edges) - 1
        for number, wavelength in enumerate(WAVELENGTHS_KM):
            if wavelength <= N * pixel_m / 2000 and (band == number).any():
                power[lead, number] = density[1:][band == number].mean()
    return power


def rapsd_error(forecast: NDArray[np.float64], observed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over wavelengths of |log10(forecast power / observed power)|: 0 is best, 0.3 is a factor of two.

    Blur and noise both count. Shapes (leads, wavelengths) in, (leads,) out; NaN where nothing is resolved.
    """
    known = np.isfinite(observed) & (observed > 0)
    ratio = np.divide(forecast, observed, where=known, out=np.ones_like(observed))
    error = np.abs(np.log10(np.clip(ratio, 10**-MOST, 10**MOST)))
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, error, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def spectral_columns(
    forecast: NDArray[np.floating], observed: NDArray[np.floating], mask: NDArray[np.bool_], pixel_m: float
) -> dict[str, NDArray[np.float64]]:
    """Return columns for :func:`pipelines.verification.scoring.score_forecast`: powers, and RAPSD's error.

    One square for all lead times: the largest of pixels that count at each of them. A lead time at which less than
    `WET_AREA_RATIO` of the observed square reaches `WET_RATE` has no spectrum.
    """
    square = (slice(None), *valid_square(np.logical_and.reduce(mask)))
    seen, predicted = observed[square], forecast[square]
    powers = {"observed": spectra(seen, pixel_m), "forecast": spectra(predicted, pixel_m)}
    if seen.size:
        wet = (seen >= WET_RATE).mean(axis=(1, 2)) >= WET_AREA_RATIO
        for power in powers.values():
            power[~wet] = np.nan
    error = rapsd_error(powers["forecast"], powers["observed"])
    columns = {
        power_column(name, wavelength): power[:, number]
        for name, power in powers.items()
        for number, wavelength in enumerate(WAVELENGTHS_KM)
    }
    return {"rapsd_count": np.isfinite(error).astype(float), "rapsd_error": np.nan_to_num(error), **columns}


def power_column(name: str, wavelength_km: float) -> str:
    """Return the name of a column of powers; ``name`` is forecast or observed."""
    return f"{name}_power_{wavelength_km:g}km"


def scale_pixels(scale_km: float, pixel_m: float) -> int:
    """Return rows and columns of a neighbourhood of ``scale_km``, pixels, at least one."""
    return max(1, round(1000 * scale_km / pixel_m))


def power_columns(names: Sequence[str] = ("forecast", "observed")) -> list[str]:
    """Return the names of all columns of powers."""
    return [power_column(name, wavelength) for name in names for wavelength in WAVELENGTHS_KM]
