"""Echo images against Z = 200·R^1.6 by hand."""

import math

import pytest
import torch

from pipelines.radar.echo_image import echo_image, echo_rain_rate


def test_an_image_is_reflectivity_from_black_to_white() -> None:
    rain = torch.tensor([1.0, 10.0, (1e6 / 200) ** (1 / 1.6), 500.0, 0.0, math.nan])
    ten_log_200 = 23.0103
    wanted = [(ten_log_200 + 10) / 70, (ten_log_200 + 16 + 10) / 70, 1.0, 1.0, 0.0, 0.0]  # 60 dBZ is white
    assert echo_image(rain).tolist() == pytest.approx(wanted, abs=1e-5)


def test_and_back() -> None:
    rain = torch.tensor([0.0, 0.05, 0.7, 3.0, 60.0])
    torch.testing.assert_close(echo_rain_rate(echo_image(rain)), rain, rtol=1e-4, atol=1e-6)
    image = torch.tensor([-0.3, 0.0, 30 / 70, 40 / 70, 1.3])  # 20 and 30 dBZ: R = (Z / 200)^(1 / 1.6)
    wanted = [0.0, 0.0, 0.5 ** (1 / 1.6), 5.0 ** (1 / 1.6), 5000.0 ** (1 / 1.6)]
    assert echo_rain_rate(image).tolist() == pytest.approx(wanted, rel=1e-4)


def test_what_is_not_a_number_is_not_dry() -> None:
    assert echo_rain_rate(torch.tensor([math.nan])).isnan().all()
