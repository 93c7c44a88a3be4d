"""The flow of a texture that is shifted is the shift."""

import cv2
import numpy as np
import pytest

from pipelines.video.optical_flow import flow_between


@pytest.mark.parametrize(("right", "down"), [(2, 0), (-2, 0), (0, 2), (3, -1)])
def test_shift(right, down):
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (96, 96)).astype(np.float32), (0, 0), 3)
    texture = (255 * (texture - texture.min()) / np.ptp(texture)).astype(np.uint8)
    images = [np.roll(texture, (k * down, k * right), (0, 1))[16:80, 16:80, None].repeat(3, -1) for k in range(3)]
    flow = flow_between(images)
    assert flow.shape == (2, 16, 16, 2)
    assert flow.dtype == np.float32
    inside = flow[:, 2:-2, 2:-2]
    np.testing.assert_allclose(np.median(inside, axis=(1, 2)), [[right, down]] * 2, atol=0.15)
    assert (np.abs(inside - [right, down]).max(axis=-1) < 0.5).mean() > 0.9


def test_it_is_what_dis_finds_from_no_motion():
    """What the stores of clips have: without an initial flow DIS finds another one here."""
    noise = np.random.default_rng(0).integers(0, 255, (128, 160)).astype(np.uint8)
    before = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    after = np.roll(before, (8, -4), (0, 1))
    after[:40] = before[:40]  # a still part
    from_rest, from_none = (
        cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before, after, initial)
        for initial in (np.zeros((128, 160, 2), np.float32), None)
    )
    assert np.abs(from_rest - from_none).max() > 0
    expected = cv2.resize(from_rest, (40, 32), interpolation=cv2.INTER_AREA)
    images = [picture[..., None].repeat(3, -1) for picture in (before, after)]
    np.testing.assert_array_equal(flow_between(images)[0], expected)


def test_still_and_single():
    image = np.random.default_rng(1).integers(0, 255, (32, 48, 3)).astype(np.uint8)
    assert np.abs(flow_between([image, image])).max() < 0.05
    assert flow_between([image]).shape == (0, 8, 12, 2)
