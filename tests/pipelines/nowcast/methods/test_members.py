"""Members: their shares are the probabilities, their noise is rain's."""

import numpy as np
import pytest
from pysteps.noise.fftgenerators import initialize_nonparam_2d_fft_filter
from pysteps.utils.spectral import rapsd
from scipy.stats import norm, rankdata

from pipelines.nowcast.methods import fields, lagrangian
from pipelines.nowcast.methods.members import (
    TAIL,
    Noise,
    Spectrum,
    censored_correlation,
    draw_members,
    quantiles,
    spectrum_of,
)
from tests.rigid_rain import rigid

RATES = [0.5, 1.0, 4.0]
RAIN = rigid(4, dx=3, dy=1)  # 128 × 160
DRY = np.zeros_like(RAIN)


def spectrum(rain: np.ndarray) -> Spectrum:
    return spectrum_of(rain, lagrangian.motion(rain))


def noise(rain: np.ndarray, count: int, steps: int = 12) -> np.ndarray:
    """Fields (count, steps, M, N) of as many seeds."""
    of_rain = Noise(spectrum(rain), steps)
    return np.array([list(of_rain.fields(np.random.default_rng(seed))) for seed in range(count)])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_shares_of_members_are_the_probabilities_within_the_sampling_error() -> None:
    rng, count = np.random.default_rng(1), 400
    exceedance = -np.sort(-rng.random((2, 3, 24, 30)), axis=1).astype(np.float32)
    exceedance[:, :, :4, :4], exceedance[:, 1:, 4:8, :4], exceedance[:, :, 8:12, :4] = 0, 0, 1
    rain = rigid(3, dx=1, dy=0, shape=(24, 30))
    members = np.stack(list(draw_members(exceedance, RATES, rain, count=count, seed=3)))
    share = (members[:, :, None] >= np.array(RATES)[:, None, None]).mean(axis=0)
    sure = (exceedance == 0) | (exceedance == 1)
    np.testing.assert_array_equal(share[sure], exceedance[sure])
    # Members are independent, and so each pixel's count is binomial.
    off = (share - exceedance)[~sure] / np.sqrt(exceedance * (1 - exceedance) / count)[~sure]
    assert np.abs(off).max() < 4.5
    assert np.square(off).mean() == pytest.approx(1, abs=0.1)
    assert abs(off.mean()) < 0.1


def test_a_member_is_of_its_seed_and_number_alone() -> None:
    exceedance = np.full((3, 3, 128, 160), 0.3, np.float32)
    five = list(draw_members(exceedance, RATES, RAIN, count=5, seed=7))
    for ours, again in zip(five, draw_members(exceedance, RATES, RAIN, count=2, seed=7), strict=False):
        np.testing.assert_array_equal(ours, again)
    others = [*five[1:], *draw_members(exceedance, RATES, RAIN, count=1, seed=8)]
    assert all(correlation(five[0], other) < 0.5 for other in others)


def test_what_is_not_known_stays_so_whatever_was_seen() -> None:
    exceedance = np.full((2, 3, 128, 160), 0.5, np.float32)
    exceedance[0, :, :7] = exceedance[1, :, :, 30:] = np.nan
    one_wet = DRY.copy()
    one_wet[-1, 5, 5] = 3.0
    alike = [np.full_like(RAIN, rate) for rate in (np.nan, 3.0)]
    for rain in (RAIN, DRY, one_wet, *alike, RAIN * [[[0]], [[0]], [[0]], [[1]]], RAIN[-2:]):
        for member in draw_members(exceedance, RATES, rain, count=2, seed=1):
            np.testing.assert_array_equal(np.isnan(member), np.isnan(exceedance[:, 0]))
            assert member.dtype == np.float32
            assert (member >= 0.5).any()


def test_amounts_are_those_of_the_distribution() -> None:
    levels = np.random.default_rng(2).random((1, 20_000)).astype(np.float32)
    steps = np.linspace(0.9, 0.3, 3, dtype=np.float32)
    exceedance = np.repeat(steps[:, None, None], 20_000, axis=2)
    np.testing.assert_allclose(
        quantiles(exceedance, RATES, np.full_like(levels, 0.5)), fields.median(exceedance[None], RATES)[0]
    )
    rain = quantiles(exceedance, RATES, levels)
    assert (rain[levels >= 0.9] == 0).all()
    assert rain[rain >= 4].mean() == pytest.approx(4 * (1 + TAIL), rel=0.03)


def test_noise_has_variance_1_at_every_lead_time() -> None:
    for rain in (RAIN, DRY):
        np.testing.assert_allclose(np.square(noise(rain, 60)).mean(axis=(0, 2, 3)), 1, atol=0.1)


def test_noise_of_no_memory_has_the_spectrum_of_the_newest_frame_as_pysteps_sees_it() -> None:
    wet = RAIN + np.float32(0.2)
    forgetful = Spectrum(spectrum(wet).power, np.zeros((128, 81), np.float32))
    drawn = Noise(forgetful, 20).fields(np.random.default_rng(0))
    ours = np.mean([rapsd(field, np.fft) for field in drawn], axis=0)
    scores = norm.ppf((rankdata(wet[-1]).reshape(128, 160) - 0.5) / wet[-1].size)
    theirs = initialize_nonparam_2d_fft_filter(scores, rm_rdisc=False)
    full = np.random.default_rng(0).standard_normal((20, 128, 160))
    theirs = np.mean([rapsd(np.fft.irfft2(np.fft.rfft2(z) * theirs["field"]), np.fft) for z in full], axis=0)
    ratio = ours[2:40] / theirs[2:40]
    assert np.abs(np.log(ratio / np.median(ratio))).mean() < np.log(1.5)


def test_what_lies_beneath_is_found_from_what_is_seen_of_it() -> None:
    rho = np.linspace(-0.9, 1, 39)
    half = (np.sqrt(1 - rho**2) + rho * (np.pi - np.arccos(rho)) - 1) / (np.pi - 1)  # of max(z, 0), in closed form
    np.testing.assert_allclose(np.interp(half, *censored_correlation(0.5)), rho, atol=2e-4)
    np.testing.assert_allclose(np.interp(rho, *censored_correlation(0.0)), rho, atol=1e-6)
    z = np.random.default_rng(0).standard_normal((2, 2_000_000))
    seen = np.maximum([z[0], 0.8 * z[0] + 0.6 * z[1]], norm.ppf(0.85))
    assert np.interp(np.corrcoef(seen)[0, 1], *censored_correlation(0.85)) == pytest.approx(0.8, abs=0.005)


def test_rain_of_a_gaussian_field_and_its_members_are_alike_at_all_scales() -> None:
    """A fifth is wet; each pixel's distribution is that of all."""
    k = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256))
    amplitude = (1 + (k / 0.02) ** 2) ** -1.25
    rates = np.linspace(0.1, 8, 24)
    shares = norm.sf(0.84 + (rates - 0.1) / 2).astype(np.float32)
    exceedance = np.broadcast_to(shares[:, None, None], (24, 256, 256))
    taper, ratios = np.outer(np.hanning(256), np.hanning(256)), []
    for seed in range(4):
        z = np.fft.irfft2(np.fft.rfft2(np.random.default_rng(seed).standard_normal((256, 256))) * amplitude)
        rain = np.where(z > 0.84 * z.std(), 0.1 + 2 * (z / z.std() - 0.84), 0).astype(np.float32)
        power = spectrum_of(rain[None], np.zeros((256, 256, 2), np.float32)).power
        field = next(Noise(Spectrum(power, np.zeros_like(power)), 1).fields(np.random.default_rng(seed)))
        member = quantiles(exceedance, rates.tolist(), norm.sf(field).astype(np.float32))
        ratios.append(rapsd(member * taper, np.fft)[3:64] / rapsd(rain * taper, np.fft)[3:64])
    assert np.abs(np.mean(np.log(ratios), axis=0)).max() < np.log(3.5)  # of decibels, with a step at the edge: 15


def test_of_a_dry_frame_the_spectrum_is_a_power_law() -> None:
    fields_ = noise(DRY, 8, 200)[:, -1]
    power = np.mean([rapsd(field, np.fft) for field in fields_], axis=0)
    k = np.arange(len(power))[4:50]
    assert np.polyfit(np.log(k), np.log(power[4:50]), 1)[0] == pytest.approx(-2.5, abs=0.2)


def test_noise_grows_from_small_scales_to_large_ones_which_remember_longer() -> None:
    of_dry = noise(DRY, 12)

    def coarse(lead: int) -> np.ndarray:
        return of_dry[:, lead].reshape(12, 16, 8, 20, 8).mean(axis=(2, 4))

    shares = [np.square(coarse(lead)).mean() for lead in (0, 3, 11)]
    assert shares[0] < shares[1] < shares[2]
    small = [of_dry[:, lead] - np.kron(coarse(lead), np.ones((1, 8, 8))) for lead in (5, 6)]
    assert correlation(coarse(5), coarse(6)) > correlation(*small) + 0.2


def test_noise_moves_with_the_rain() -> None:
    exceedance = np.broadcast_to(np.array([0.5, 0.3, 0.1], np.float32)[:, None, None], (12, 3, 128, 160))
    member = next(draw_members(exceedance, RATES, RAIN, count=1, seed=1))
    moved = correlation(member[10, 20:-21, 20:-23], member[11, 21:-20, 23:-20])
    assert moved > correlation(member[10], member[11]) + 0.1
