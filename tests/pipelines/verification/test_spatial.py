"""FSS against pysteps' and by hand, spectra against pysteps' and of known waves, the square that counts."""

from contextlib import redirect_stdout

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.verification.spatial import (
    WAVELENGTHS_KM,
    fss_sums,
    rapsd_error,
    scale_pixels,
    spectra,
    spectral_columns,
    valid_square,
)


@pytest.mark.parametrize("size", [1, 2, 8, 31, 32])
def test_fss_is_pysteps(size: int) -> None:
    with redirect_stdout(None):
        from pysteps.verification.spatialscores import fss

    rng = np.random.default_rng(size)
    forecast, observed = rng.gamma(0.4, 2.0, (2, 3, 48, 61))
    for one, other in zip(forecast, observed, strict=True):
        error, reference = fss_sums(one >= 1, other >= 1, size)
        assert 1 - error / reference == pytest.approx(fss(one, other, 1.0, size), abs=1e-5)


def test_fss_by_hand() -> None:
    """One pixel of rain, forecast one pixel beside: no overlap, and 6 of 9 pixels common within 3."""
    observed = np.zeros((9, 9), bool)
    observed[4, 4] = True
    forecast = np.roll(observed, 1, axis=1)
    assert fss_sums(forecast, observed, 1) == (2.0, 2.0)
    error, reference = fss_sums(forecast, observed, 3)
    assert error == pytest.approx(6 / 81)
    assert reference == pytest.approx(18 / 81)
    assert fss_sums(observed, observed, 3)[0] == 0


def test_a_scale_is_in_kilometres() -> None:
    assert [scale_pixels(scale, 1000.0) for scale in (2, 8, 32)] == [2, 8, 32]
    assert [scale_pixels(scale, 2000.0) for scale in (2, 8, 32)] == [1, 4, 16]
    assert scale_pixels(2, 5000.0) == 1


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 12), st.floats(0.5, 1.0))
def test_the_square_is_the_largest_odd_one_that_counts(seed: int, H: int, W: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((H, W)) < share
    rows, columns = valid_square(mask)
    square = mask[rows, columns]
    assert square.all()
    sides = [
        side
        for side in range(1, min(H, W) + 1, 2)
        for y in range(H - side + 1)
        for x in range(W - side + 1)
        if mask[y : y + side, x : x + side].all()
    ]
    assert square.shape == (max(sides, default=0),) * 2


def test_a_wave_has_its_power_at_its_wavelength() -> None:
    x = np.arange(128)
    for wavelength in (4, 8, 16, 32):
        wave = np.tile(1 + np.cos(2 * np.pi * x / wavelength), (128, 1))[None]
        assert WAVELENGTHS_KM[int(np.nanargmax(spectra(wave, 1000.0)[0][:7]))] == wavelength
        # The same picture of pixels of 2 km is a wave twice as long.
        twice = int(np.nanargmax(spectra(wave, 2000.0)[0][2:])) + 2
        assert WAVELENGTHS_KM[twice] == 2 * wavelength


def test_spectra_are_pysteps_and_unresolved_bands_are_unknown() -> None:
    with redirect_stdout(None):
        from pysteps.utils.spectral import rapsd

    rain = np.random.default_rng(1).gamma(0.5, 2.0, (2, 65, 65))
    ours = spectra(rain, 1000.0)
    taper = np.outer(np.hanning(65), np.hanning(65))
    for lead in range(2):
        power, frequency = rapsd(rain[lead] * taper, fft_method=np.fft, return_freq=True, d=1.0)
        # The band from √(6·8) to √(8·12) km.
        middle = (1 / frequency[1:] > np.sqrt(48)) & (1 / frequency[1:] < np.sqrt(96))
        assert ours[lead, WAVELENGTHS_KM.index(8)] == pytest.approx(power[1:][middle].mean())
    assert np.isnan(ours[:, WAVELENGTHS_KM.index(48)]).all()  # longer than half of 65 km
    assert np.isfinite(ours[:, WAVELENGTHS_KM.index(32)]).all()
    # Pixels of 4 km resolve nothing shorter than 8 km.
    assert np.isnan(spectra(rain, 4000.0)[:, : WAVELENGTHS_KM.index(8)]).all()
    assert np.isnan(spectra(np.zeros((1, 7, 7)), 1000.0)).all()


def test_rapsd_error_is_a_factor_in_either_direction() -> None:
    observed = np.array([[4.0, 2.0, np.nan], [1.0, 1.0, 1.0], [np.nan] * 3, [0.0, 5.0, 5.0]])
    forecast = np.array([[8.0, 1.0, np.nan], [1.0, 1.0, 1.0], [np.nan] * 3, [1.0, 0.0, 5.0]])
    error = rapsd_error(forecast, observed)
    assert error[:2] == pytest.approx([np.log10(2), 0.0])
    assert np.isnan(error[2])
    assert error[3] == pytest.approx((3 + 0) / 2)  # no power at all is a thousandth, no more


@pytest.mark.parametrize("rain", ["dry", "drizzle in a corner", "none of it seen"])
def test_what_has_no_spectrum_counts_in_none(rain: str) -> None:
    observed = np.zeros((2, 40, 40))
    mask = np.full(observed.shape, rain != "none of it seen")
    if rain == "drizzle in a corner":
        observed[:, 20, 20] = 5.0
    columns = spectral_columns(observed + 1.0, observed, mask, 1000.0)
    assert (columns.pop("rapsd_count") == 0).all()
    assert (columns.pop("rapsd_error") == 0).all()
    assert np.isnan(list(columns.values())).all()
