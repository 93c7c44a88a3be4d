"""The weighted error of echo images, by hand, and how batches add up."""

import pytest
import torch

from pipelines.nowcast.echo_loss import EchoLoss
from pipelines.radar.echo_image import echo_image

RAIN = torch.tensor([0.0, 1.9, 2.0, 5.0, 10.0, 30.0, torch.nan])


@pytest.mark.parametrize(("weighted", "weights"), [(True, (1, 1, 2, 5, 10, 30)), (False, (1,) * 6)])
def test_errors_weigh_by_the_observed_rain_rate(weighted: bool, weights: tuple[int, ...]) -> None:
    image = echo_image(RAIN)
    for pixel, weight in enumerate(weights):
        off = image.clone()
        off[pixel] += 0.2
        loss = EchoLoss(weighted=weighted)(off, RAIN)
        assert loss.item() == pytest.approx(weight * (0.2**2 + 0.2) / 6, rel=1e-5)
    unseen = image.clone()
    unseen[6] = 5.0
    assert EchoLoss(weighted=weighted)(unseen, RAIN) == 0
    assert EchoLoss(weighted=weighted)(unseen[6:], RAIN[6:]) == 0


def test_batches_add_up_to_the_loss_of_all() -> None:
    loss, image = EchoLoss(weighted=True), torch.rand(7)
    parts = loss.sums(image[:3], RAIN[:3]) + loss.sums(image[3:], RAIN[3:])
    torch.testing.assert_close(loss.of_sums(parts), loss(image, RAIN))
