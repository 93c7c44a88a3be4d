from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor, nn

from pipelines.training.gradient_norms import gradient_norms, write_gradients


class Scaled(nn.Module):
    """x_t times a factor of its own."""

    def __init__(self, factors: list[float]) -> None:
        super().__init__()
        self.factors = torch.tensor(factors)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors.view(-1, 1, 1, 1, 1)


def test_norms_are_of_each_layers_input_at_each_time_and_their_mean() -> None:
    """Of 4 values a frame: 2 times the product of the factors above, times what a draw lets through."""
    layers = [Scaled([5.0, 7.0]), Scaled([2.0, 3.0])]
    x = torch.ones(2, 1, 1, 2, 2, requires_grad=True)

    def loss(draw: Tensor | None) -> Tensor:
        return (1.0 if draw is None else draw) * layers[1](layers[0](x)).sum()

    assert gradient_norms(layers, loss, [None]).tolist() == [[20.0, 42.0], [4.0, 6.0]]
    halves = gradient_norms(layers, loss, [torch.tensor(0.0), torch.tensor(-1.0)])
    assert halves.tolist() == [[10.0, 21.0], [2.0, 3.0]]
    assert not layers[0]._forward_pre_hooks, "what was hooked is left as it was"


def test_a_picture_of_each_quantity_and_switch(tmp_path: Path) -> None:
    layer, frame = np.indices((3, 4)) + 1
    rows = pd.concat(
        pd.DataFrame(
            {"quantity": quantity, "switch": switch, "layer": layer.ravel(), "frame": frame.ravel()}
            | {"log10": np.where(frame > 1, -1.0 * frame, -np.inf).ravel()}
        )
        for quantity in ("expected chains", "norm")
        for switch in ("plain", "p = 0.5")
    )
    write_gradients(rows, tmp_path / "g.csv", tmp_path / "g.png")
    assert len(pd.read_csv(tmp_path / "g.csv")) == 2 * 2 * 3 * 4
    assert imread(tmp_path / "g.png").std() > 0.05


def test_what_fails_within_leaves_no_hook() -> None:
    layer = Scaled([1.0])
    with pytest.raises(RuntimeError):
        gradient_norms([layer], lambda draw: torch.zeros(()), [None])
    assert not layer._forward_pre_hooks
