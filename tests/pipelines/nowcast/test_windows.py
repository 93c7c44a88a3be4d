"""Windows as samples, and the draw of an epoch."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from archive import moving_cells, write_archive

from pipelines.nowcast.methods.normalisation import normalise
from pipelines.nowcast.windows import Draw, EpochSampler, RadarWindows, WithMotion, echo_motion
from pipelines.radar.store import open_frames


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("windows") / "radar.zarr", events=1, count=8, shape=(40, 56))


def test_a_sample_is_the_store_s_frames_there(store: Path) -> None:
    windows = pd.DataFrame({"store": str(store), "t0": [0, 3], "y0": [0, 16], "x0": [0, 32]}, index=[7, 9])
    samples = RadarWindows(windows, inputs=3, leads=2, size=24)
    rain = open_frames(store)["rainfall_flux"].to_numpy()
    assert len(samples) == 2
    assert samples[0].shape == (5, 1, 24, 24)
    assert samples[0].dtype == torch.float32
    np.testing.assert_array_equal(samples[0][2, 0].numpy(), rain[2, :24, :24])
    np.testing.assert_array_equal(samples[1][2, 0].numpy(), rain[5, 16:40, 32:56])
    assert samples[0][2, 0, :4, :4].isnan().all()  # what the radar doesn't see stays NaN


def test_the_other_frames_of_a_sample_lie_as_the_rain_does_in_the_newest(store: Path) -> None:
    """The archive's cells move by 2 columns and a row a frame: in the sample they hardly do."""
    rain = open_frames(store)["rainfall_flux"].to_numpy()
    window = RadarWindows(pd.DataFrame({"store": str(store), "t0": [0], "y0": [8], "x0": [8]}), 4, 3, 32)[0][
        :, 0
    ].numpy()
    newest, there = window[3], rain[:7, 8:40, 8:40]
    for t in (0, 1, 2, 4, 5, 6):
        known = np.isfinite(window[t]) & np.isfinite(newest)
        assert known.mean() > 0.6
        moving = np.abs(window[t] - newest)[known].mean()
        assert moving < 0.5 * np.nanmean(np.abs(there[t] - newest))


def test_a_varied_sample_is_turned_and_its_rain_times_one_factor(store: Path) -> None:
    samples = RadarWindows(pd.DataFrame({"store": str(store), "t0": [0], "y0": [8], "x0": [8]}), 3, 2, 24)
    plain, turns = samples[0][:, 0].numpy(), set()
    for number in range(40):
        varied = samples[Draw(0, (5, number))][:, 0].numpy()
        np.testing.assert_array_equal(varied, samples[Draw(0, (5, number))][:, 0].numpy())
        factor = np.nansum(varied) / np.nansum(plain)
        assert 1 / 1.5 <= factor <= 1.5
        ways = [(k, flip) for k in range(4) for flip in (False, True)]
        same = [
            way
            for way in ways
            if np.allclose(turned(plain, *way) * factor, varied, rtol=1e-4, atol=1e-4, equal_nan=True)
        ]
        assert len(same) == 1
        turns |= set(same)
    assert len(turns) == 8


def turned(window: np.ndarray, k: int, flip: bool) -> np.ndarray:
    window = np.stack([np.rot90(frame, k) for frame in window])
    return window[..., ::-1] if flip else window


def test_frames_kept_in_memory_are_not_changed_by_who_takes_them(store: Path) -> None:
    samples = RadarWindows(pd.DataFrame({"store": str(store), "t0": [0], "y0": [0], "x0": [0]}), 2, 1, size=24)
    before = samples[0].clone()
    samples[0].fill_(-1.0)
    assert torch.equal(samples[0].nan_to_num(-2.0), before.nan_to_num(-2.0))


def drawn(sampler: EpochSampler, epoch: int) -> list[Draw]:
    sampler.set_epoch(epoch)
    return list(sampler)


def rows(draws: list[Draw]) -> list[int]:
    return [draw.row for draw in draws]


def test_an_epoch_is_drawn_by_seed_and_epoch_alone() -> None:
    wet = np.linspace(0, 1, 50)
    one, other = EpochSampler(wet, 64, seed=3), EpochSampler(wet, 64, seed=3)
    history = [drawn(one, epoch) for epoch in range(4)]
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    torch.manual_seed(0)
    assert drawn(other, 3) == history[3]  # without the epochs before it, as in a resumed run
    assert drawn(other, 1) == history[1]
    assert list(other) == list(other)
    assert len({tuple(epoch) for epoch in history}) == 4
    assert drawn(EpochSampler(wet, 64, seed=4), 0) != history[0]
    assert len(one) == len(history[0]) == 64


def test_wet_windows_are_drawn_more_often() -> None:
    wet = np.array([0.0, 0.0, 0.45, 0.95])
    counts = np.bincount(rows(drawn(EpochSampler(wet, 20_000, seed=0), 0)), minlength=4) / 20_000
    np.testing.assert_allclose(counts, np.array([0.05, 0.05, 0.5, 1.0]) / 1.6, atol=0.01)


def test_archives_are_drawn_from_as_often_however_long_they_are() -> None:
    wet, archives = np.array([0.45, 0.95, 0.0, 0.0]), np.array(["long", "long", "short", "long"])
    draws = rows(drawn(EpochSampler(wet, 20_000, seed=0, archives=archives), 0))
    shares = np.bincount(draws, minlength=4) / 20_000
    np.testing.assert_allclose(shares, np.array([0.5, 1.0, 1.55, 0.05]) / 3.1, atol=0.01)


def test_dry_windows_alone_can_be_drawn_too() -> None:
    assert set(rows(drawn(EpochSampler(np.zeros(3), 100, seed=0), 0))) == {0, 1, 2}


def test_rain_rate_to_the_network_s_units() -> None:
    rain_rate = torch.tensor([0.0, 0.1, 1.0, np.e - 1, 100.0, np.nan])
    x = normalise(rain_rate)
    np.testing.assert_allclose(x[:5], np.log(1 + np.array([0.0, 0.1, 1.0, np.e - 1, 100.0])), rtol=1e-6)
    assert x[5] == 0.0


def test_motion_is_that_of_the_cells() -> None:
    """Cells were moved by 2 columns and 1 row a frame; the flow says so where the echo is."""
    frames = moving_cells("2024-06-01T12:00:00", 4, speed=(2.0, 1.0))
    rain_rate = np.stack([frame.rain_rate for frame in frames])
    motion = echo_motion(rain_rate)
    assert motion.shape == (3, 2, 64, 64)
    inside = np.s_[8:-8, 8:-8]  # cells wrap around; a flow can't see that
    for frame, (x, y) in zip(rain_rate, motion, strict=False):
        echo = frame[inside] > 1.0
        assert np.median(x[inside][echo]) == pytest.approx(2.0, abs=0.2)
        assert np.median(y[inside][echo]) == pytest.approx(1.0, abs=0.2)


def test_nothing_seen_and_no_rain_are_no_error() -> None:
    assert np.isfinite(echo_motion(np.full((2, 32, 32), np.nan, np.float32))).all()
    assert np.isfinite(echo_motion(np.zeros((2, 32, 32), np.float32))).all()


def test_a_sample_has_the_motion_from_its_newest_observed_frame_on(
    store: Path,
) -> None:
    table = pd.DataFrame({"store": str(store), "t0": [0], "y0": [8], "x0": [8]})
    window, motion = WithMotion(RadarWindows(table, inputs=4, leads=3, size=32))[0]
    assert motion.shape == (3, 2, 32, 32)
    np.testing.assert_array_equal(motion, echo_motion(window[3:, 0].numpy()))


def test_in_fixed_coordinates_a_sample_is_what_was_seen_there_never_varied(store: Path) -> None:
    windows = pd.DataFrame({"store": str(store), "t0": [1], "y0": [8], "x0": [16]})
    samples = RadarWindows(windows, 3, 4, 24, coordinates="fixed")
    seen = open_frames(store)["rainfall_flux"].to_numpy()[1:8, 8:32, 16:40]
    for sample in (samples[0], samples[Draw(0, (5, 1))]):
        np.testing.assert_array_equal(sample[:, 0].numpy(), seen)
    _, motion = WithMotion(samples)[0]
    echo = seen[2:-1] > 5
    of_echo = [float(np.median(motion.numpy()[:, axis][echo])) for axis in (0, 1)]
    assert of_echo == pytest.approx([2.0, 1.0], abs=0.3)  # columns and rows a frame: all that moves
