"""A cascade adds up, and the weights of least squares are numpy's."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from scs_model import EncoderForecaster
from scs_model.networks import cascade
from scs_model.networks.encoder_forecaster import CHANGE


def frames(batch: int = 2, side: int = 64, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.rand(batch, cascade.FRAMES, side, side + 32, dtype=torch.float64)


def full_size(x: torch.Tensor, downsample: int) -> torch.Tensor:
    """Cells on pixels, doubled again and again as numpy would: each new pixel is 3/4 of one and 1/4 of the next."""
    for _ in range(int(np.log2(downsample))):
        for axis in (-2, -1):
            edge = [(0, 0)] * x.ndim
            edge[axis] = (1, 1)
            wide = np.pad(x.numpy(), edge, mode="edge")
            n = x.shape[axis]
            here, before, after = (np.take(wide, np.arange(k, k + n), axis=axis) for k in (1, 0, 2))
            halves = np.stack([0.75 * here + 0.25 * before, 0.75 * here + 0.25 * after], axis=axis % x.ndim + 1)
            x = torch.from_numpy(halves.reshape([2 * s if a == axis % x.ndim else s for a, s in enumerate(x.shape)]))
    return x


@pytest.mark.parametrize("downsample", [1, 2, 4, 8])
def test_levels_add_up_to_the_frame(downsample: int) -> None:
    x = frames()
    fine, coarse = cascade.cascade(x, downsample)
    finest = int(np.log2(downsample))
    assert fine.shape == (2, cascade.FRAMES * finest, 64, 96)
    assert coarse.shape == (2, cascade.FRAMES * (cascade.LEVELS - finest), 64 // downsample, 96 // downsample)
    total = fine.unflatten(1, (finest, cascade.FRAMES)).sum(1) if finest else 0.0
    smooth = coarse.unflatten(1, (cascade.LEVELS - finest, cascade.FRAMES)).sum(1)
    torch.testing.assert_close(total + full_size(smooth, downsample), x)


@pytest.mark.parametrize("downsample", [1, 2, 4, 8])
def test_the_weights_of_persistence_give_the_newest_frame(downsample: int) -> None:
    x = frames()
    weights = (
        cascade.persistence(3).double()[:, None, :, None, None].expand(3, 2, -1, 64 // downsample, 96 // downsample)
    )
    said = cascade.recompose(weights, *cascade.cascade(x, downsample))
    torch.testing.assert_close(said, x[None, :, -1:].expand(3, -1, -1, -1, -1))


def test_a_level_holds_what_is_of_its_scale() -> None:
    """A constant is all in the coarsest level; a chequerboard all in the finest."""
    ones = torch.ones(1, cascade.FRAMES, 64, 64)
    fine, coarse = cascade.cascade(ones, 2)
    torch.testing.assert_close(coarse[:, -1], torch.ones(1, 32, 32))
    assert fine.abs().max() < 1e-6 and coarse[:, : -cascade.FRAMES].abs().max() < 1e-6
    chequers = ones * (-1.0) ** (torch.arange(64)[:, None] + torch.arange(64))
    fine, coarse = cascade.cascade(chequers, 2)
    torch.testing.assert_close(fine[:, -1], chequers[:, -1])
    assert coarse.abs().max() < 1e-6


def test_regression_finds_the_weights_that_made_the_future() -> None:
    x, steps = frames(3), 2
    torch.manual_seed(1)
    wanted = torch.randn(steps, cascade.WEIGHTS, dtype=torch.float64)
    wide = wanted[:, None, :, None, None].expand(steps, 3, -1, 16, 24)
    future = cascade.recompose(wide, *cascade.cascade(x, 4))[:, :, 0].transpose(0, 1)
    counts = torch.rand(future.shape) < 0.7
    future = future.where(counts, torch.nan)
    found = cascade.regress([(x[:2], future[:2], counts[:2]), (x[2:], future[2:], counts[2:])], 4, ridge=0.0)
    torch.testing.assert_close(found, wanted.float(), rtol=1e-3, atol=1e-3)


def test_regression_is_numpy_s_least_squares() -> None:
    x = frames(2)
    future, counts = torch.rand(2, 1, 64, 96, dtype=torch.float64), torch.rand(2, 1, 64, 96) < 0.5
    fine, coarse = cascade.cascade(x, 4)
    columns = torch.cat([fine, full_size(coarse, 4), torch.ones(2, 1, 64, 96)], 1).permute(0, 2, 3, 1)[counts[:, 0]]
    wanted, *_ = np.linalg.lstsq(columns.numpy(), future[counts].numpy())
    found = cascade.regress([(x, future, counts)], 4, ridge=0.0)
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="no pixel counts"):
        cascade.regress([(x, future, torch.zeros_like(counts))], 4)


def network(cell: str = "scs", **changes: object) -> EncoderForecaster:
    torch.manual_seed(2)
    return EncoderForecaster(cell, **{"widths": [6, 4], "kernel": 3, "downsample": 4, "leads": 5} | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", ["scs", "convlstm", "convgru", "trajgru"])
def test_a_network_changes_the_weights_from_place_to_place(cell: str) -> None:
    """Equation of docs/method.md, with what the head says taken from the network itself."""
    ours, x = network(cell), torch.rand(2, 4, 1, 32, 64)
    torch.nn.init.normal_(ours.head.weight, std=0.1)
    heads = []
    ours.head.register_forward_hook(lambda module, given, said: heads.append(said))
    ours.weights.copy_(torch.rand(5, cascade.WEIGHTS))
    y = ours(x, 3)
    said = heads[0].unflatten(0, (3, 2))
    torch.testing.assert_close(ours(x, 2), y[:, :2])
    fine, coarse = cascade.cascade(x[:, -cascade.FRAMES :, 0], 4)
    for k in range(3):
        w = ours.weights[k][:, None, None] + CHANGE * (k + 1) / 5 * said[k]
        n = fine.shape[1]
        smooth = (w[:, n:-1] * coarse).sum(1, keepdim=True) + w[:, -1:]
        wanted = full_size(smooth.detach(), 4) + (full_size(w[:, :n].detach(), 4) * fine).sum(1, keepdim=True)
        torch.testing.assert_close(y[:, k].detach(), wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(y[:, 0], y[:, 2])


def test_bilinear_doubling_is_torch_s() -> None:
    x = torch.rand(1, 1, 5, 7)
    torch.testing.assert_close(full_size(x, 2), interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
