"""A sentinel in another width than the pixels."""

import numpy as np
import pytest

from pipelines.radar.readers.sentinels import equals


@pytest.mark.parametrize(
    ("pixels", "sentinel"),
    [
        (np.float32([-9999.9, 1]), np.float64(-9999.9)),
        (np.float64([-9999.9, 1]), np.float32(-9999.9)),
        (np.float64([np.float32(-9999.9), 1]), np.float32(-9999.9)),
        (np.float32([-9999.9, 1]), -9999.9),
        (np.uint8([255, 1]), np.float64(255.0)),
        (np.int16([-1, 1]), -1),
        (np.float32([65535, 1]), np.int32(65535)),
    ],
)
def test_in_any_width(pixels: np.ndarray, sentinel: object) -> None:
    assert equals(pixels, sentinel).tolist() == [True, False]


def test_what_is_none() -> None:
    assert not equals(np.uint8([255, 0, 1]), np.float64(255.5)).any()
    assert not equals(np.float64([-9999.0, -9999.9]), np.float64(-9999.5)).any()
    assert not equals(np.float32([1.0]), np.float64(1e300)).any()
