"""Windows of drives: the right frames with the right angles, mirrored as a mirror would."""

import numpy as np
import pytest
from driving_files import ingest_params, write_livi

from pipelines.common.errors import UserError
from pipelines.driving.drives import Drives, open_drives
from pipelines.driving.ingest import ingest_drives
from pipelines.driving.samples import DriveSamples, mirror
from pipelines.driving.train import frames_ahead
from pipelines.video.optical_flow import flow_between


@pytest.fixture(scope="module")
def drives(tmp_path_factory) -> Drives:
    """Six drives of 30 frames, grey of the frame's own number; the angle is the number less 100."""
    folder = tmp_path_factory.mktemp("samples")
    for n in range(6):
        write_livi(folder / "raw" / str(n), [(30.0 * n + k - 100, 30.0) for k in range(30)], base=30 * n)
    ingest_drives(folder / "raw", folder / "drives.zarr", folder / "q.csv", ingest_params())
    return open_drives(folder / "drives.zarr")


@pytest.mark.parametrize("keep", [1 << 30, 0])
@pytest.mark.parametrize("ahead", [0, 4])
def test_each_frame_has_the_angle_of_its_time_or_of_a_later_one(drives, ahead, keep):
    samples = DriveSamples(drives, "train", 5, ahead=ahead, keep_bytes=keep)
    sessions = (drives.rows["split"] == 0).sum() // 30
    assert len(samples) == sessions * (30 - 4 - ahead)
    for n in (0, 7, len(samples) - 1):
        frames, angles = samples[n]
        assert frames.shape == (5, 3, 32, 96)
        levels = frames[:, 0, 5, 5].numpy().astype(int)
        assert np.abs(levels - (levels[0] + np.arange(5))).max() <= 1
        assert np.abs(angles.numpy() + 100 - ahead - levels).max() <= 1


def test_half_of_the_samples_are_mirrored_and_always_the_same(drives):
    plain, mirrored = DriveSamples(drives, "train", 3), DriveSamples(drives, "train", 3, mirror=True, seed=4)
    count = 4 * len(plain)
    signs = [float((mirrored[n][1] / plain[n][1]).mean()) for n in range(count)]
    assert set(signs) == {1.0, -1.0}
    assert 0.4 < np.mean(np.array(signs) < 0) < 0.6
    assert signs == [float((mirrored[n][1] / plain[n][1]).mean()) for n in range(count)]


def test_the_mirror_turns_frames_angles_and_the_flow_to_the_right():
    rng = np.random.default_rng(1)
    wide = np.kron(rng.integers(0, 256, (9, 30, 1)), np.ones((8, 8, 3))).astype(np.uint8)
    frames = np.stack([wide[:64, 20 + 3 * k : 148 + 3 * k] for k in range(2)])  # all moves to the left by 3 pixels
    flow = flow_between(frames)
    turned, angles, mirrored = mirror(frames, np.float32([7, 8]), flow)
    assert angles.tolist() == [-7, -8]
    assert np.array_equal(turned[0, :, 0], frames[0, :, -1])
    inner = slice(4, -4)
    assert np.median(flow[0, inner, inner, 0]) == pytest.approx(-3, abs=0.3)
    assert np.median(mirrored[0, inner, inner, 0]) == pytest.approx(3, abs=0.3)
    again = flow_between(np.ascontiguousarray(turned))
    assert np.median(np.abs(again - mirrored)) < 0.1


def test_refusals(drives):
    with pytest.raises(UserError, match="no 31 frames on end in the split 'test'"):
        DriveSamples(drives, "test", 31)
    assert frames_ahead(drives, 0.5) == 5
    with pytest.raises(UserError, match=r"ahead_s 0\.25 s is no whole number of frames at 10 a second"):
        frames_ahead(drives, 0.25)
    with pytest.raises(IndexError):
        drives.frames(len(drives) - 1, 2)
