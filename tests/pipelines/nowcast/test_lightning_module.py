"""The training step, for every model of params.yaml."""

from pathlib import Path

import numpy as np
import pytest
import torch
from archive import moving_cells

from pipelines.nowcast.lightning_module import NowcastTraining
from pipelines.nowcast.methods.normalisation import thresholds
from pipelines.nowcast.windows import echo_motion
from pipelines.params.read import read_params
from scs_model import EncoderForecaster

NAMES = ["scs", "scs_stsgd", "scs_astsgd", "convlstm", "convgru", "trajgru", "scs_probabilities"]
WITH_PROBABILITIES = ["scs_astsgd", "convlstm", "convgru"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [(name, {}) for name in NAMES]
    + [(name, {"probabilistic": True}) for name in WITH_PROBABILITIES]
    + [(name, {"coordinates": "fixed"}) for name in ("scs_stsgd", "scs_astsgd", "convlstm")]
    + [("scs", {"coordinates": "fixed", "weighted": False})],
)
def test_every_model_of_params_yaml_learns_a_batch_by_heart(name: str, changes: dict[str, object]) -> None:
    """A few steps on one batch make the main loss smaller, whatever the cell, the switch, the subtasks and the head."""
    params = read_params(Path(__file__).parents[3] / "params.yaml")
    model = params.models[name].model_copy(update=changes)
    torch.manual_seed(0)
    rates = params.index.rates if model.probabilistic else None
    network = EncoderForecaster(
        **model.network, subtasks=model.subtasks is not None, leads=4, thresholds=thresholds(rates) if rates else None
    )
    module = NowcastTraining(
        *(network, model.switch, model.subtasks),
        inputs=4,
        learning_rate=0.003,
        seed=1,
        rates=rates,
        weighted=model.weighted,
    )
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]  # no trainer here
    frames = np.stack([frame.rain_rate for frame in moving_cells("2024-06-01T12:00:00", 8)])[None, :, None]
    windows = torch.from_numpy(frames)
    batch = (windows, torch.from_numpy(echo_motion(frames[0, 3:, 0]))[None]) if model.subtasks else windows
    optimizer = torch.optim.Adam(module.parameters(), lr=0.003)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    if module.adaptive is None:
        assert model.switch.adaptive is None
    else:
        assert module.adaptive.steps == 30
        assert 0.5 <= module.adaptive.p <= 1.0
