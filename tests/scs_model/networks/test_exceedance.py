import math

import pytest
import torch
from torch.nn.functional import avg_pool2d

from scs_model import EncoderForecaster
from scs_model.networks.encoder_forecaster import CELLS
from scs_model.networks.exceedance import LEAST, Exceedance
from scs_model.stsgd.switch import draw_open_paths

THRESHOLDS = [0.1, 0.5, 1.0, 2.0]
SHAPE = {"widths": [6, 4], "kernel": 3, "downsample": 4, "leads": 5, "thresholds": THRESHOLDS}


def build(cell="scs", **changes):
    torch.manual_seed(1)
    network = EncoderForecaster(cell, **{**SHAPE, **changes})
    for parameter in (network.head.weight, network.exceedance.weights):
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize("cell", CELLS)
def test_log_odds_of_each_lead_time_and_threshold_in_order(cell):
    network = build(cell).eval()
    x = 3 * torch.rand(2, 3, 1, 64, 32)
    y = network(x, 5)
    assert y.shape == (2, 5, 4, 64, 32)
    assert y.dtype == torch.float32
    assert (y.diff(dim=2) <= 0).all()
    assert not torch.allclose(y[:, 1], y[:, 4]), "lead times differ"
    torch.testing.assert_close(network(x, 2), y[:, :2])


def test_untrained_what_is_exceeded_is_likely_and_the_rest_not():
    x = 3 * torch.rand(1, 3, 1, 32, 32)
    y = EncoderForecaster("scs", **SHAPE)(x, 5)
    exceeds = x[:, -1:] >= torch.tensor(THRESHOLDS).view(-1, 1, 1)
    assert torch.equal(y > 0, exceeds.expand_as(y)), "on the pixels: nothing is blurred"


def test_shares_are_those_of_blocks_of_4_16_and_32_pixels():
    head = Exceedance(THRESHOLDS, 5, downsample=4)
    frame = 3 * torch.rand(1, 1, 64, 64)
    shares = torch.sigmoid(head.shares(frame)).view(4, 3, 16, 16)
    for k, threshold in enumerate(THRESHOLDS):
        of_cell = avg_pool2d((frame[0] >= threshold).float(), 4)[0]
        torch.testing.assert_close(shares[k, 0], LEAST + (1 - 2 * LEAST) * of_cell)
        for number in (1, 2):
            mean = (LEAST + (1 - 2 * LEAST) * of_cell).mean()
            assert shares[k, number].mean() == pytest.approx(mean.item(), abs=0.02)
            assert shares[k, number].std() < shares[k, number - 1].std()


@pytest.mark.parametrize("downsample", [1, 2, 8])
def test_a_grid_of_the_divisor_is_enough(downsample):
    network = build(downsample=downsample).eval()
    x = torch.rand(1, 3, 1, network.divisor, network.divisor)
    assert network(x, 2).shape == (1, 2, 4, network.divisor, network.divisor)


def test_the_calibration_is_the_last_thing():
    network = build()
    x = torch.rand(1, 3, 1, 32, 32)
    before = network(x, 5)
    network.exceedance.calibration[2, :, 0], network.exceedance.calibration[2, :, 1] = 0.5, -1.0
    after = network(x, 5)
    assert torch.equal(after[:, [0, 1, 3, 4]], before[:, [0, 1, 3, 4]])
    torch.testing.assert_close(after[:, 2], 0.5 * before[:, 2] - 1.0)
    network.exceedance.calibration[2, 0, 1] = -50.0
    assert (network(x, 5).diff(dim=2) <= 0).all(), "ordered after it, too"


def test_the_switch_stops_gradients_and_no_values():
    network = build()
    x = torch.rand(2, 3, 1, 32, 32)
    paths = draw_open_paths("two_sided", 0.5, seed=1, step=0, rank=0, layers=network.switch_layers, steps=8)
    torch.testing.assert_close(network(x, 5, open_paths=paths), network(x, 5))
    grads = []
    for open_paths in (None, paths):
        network.zero_grad()
        network(x, 5, open_paths=open_paths).sum().backward()
        grads.append(torch.cat([p.grad.flatten() for p in network.encoder.parameters()]))
    assert not torch.allclose(*grads)
    streams = build(subtasks=True)(x, 5, with_subtasks=True)
    assert [stream.shape[2] for stream in streams] == [4, 1, 2]


def test_in_bfloat16_probabilities_are_nearly_those_of_float32():
    network = build().eval()
    x = 3 * torch.rand(1, 3, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x, 5)
    torch.testing.assert_close(torch.sigmoid(y), torch.sigmoid(network(x, 5)), atol=0.02, rtol=0)


@pytest.mark.parametrize("thresholds", [[], [0.0, 1.0], [1.0, 0.5], [1.0, 1.0], [math.nan, 1.0]])
def test_thresholds_are_positive_and_ascending(thresholds):
    with pytest.raises(ValueError, match="positive and ascending"):
        EncoderForecaster("scs", **{**SHAPE, "thresholds": thresholds})
