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
from scs_model.networks.encoder_forecaster import Streams

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


def test_subtasks_explain_the_share_of_their_targets_squares_that_they_get_right() -> None:
    model = read_params(Path(__file__).parents[3] / "params.yaml").models["scs_astsgd"]
    network = EncoderForecaster(**{**model.network, "coordinates": "fixed"}, subtasks=True, leads=3)
    module = NowcastTraining(network, model.switch, model.subtasks, inputs=2, learning_rate=0.003, seed=1)
    logged: dict[str, float] = {}
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    module.log_dict = lambda of, **_: logged.update(of)  # type: ignore[method-assign,assign]
    windows = torch.full((2, 5, 1, 16, 16), 5.0)  # echo everywhere, but where it isn't seen
    windows[:, 1, :, :4] = torch.nan
    motion = torch.zeros(2, 3, 2, 16, 16)
    motion[:, :, 0] = 8.0  # pixels a frame, cells of 4
    image = (10 * np.log10(200 * 5.0**1.6) + 10) / 70
    reconstruction = torch.full((2, 1, 1, 16, 16), 0.9 * image)
    reconstruction[:, :, :, :4] = 7.0  # where nobody sees it
    said = Streams(torch.zeros(2, 3, 1, 16, 16), reconstruction, torch.zeros(2, 3, 2, 4, 4))
    said.motion[:, :, 0] = 0.75 * 2**0.5  # of 2 cells, and none in y: the root mean square is √2
    network.forward = lambda *_, **__: said  # type: ignore[method-assign]
    module.on_validation_epoch_start()
    for _ in range(2):
        module.validation_step((windows, motion), 0)
    module.on_validation_epoch_end()
    explained = {name: float(share) for name, share in logged.items()}
    assert explained == pytest.approx({"t1_explained": 1 - 0.1**2, "t2_explained": 1 - 0.25**2}, abs=1e-5)


def test_of_no_target_nothing_is_explained() -> None:
    model = read_params(Path(__file__).parents[3] / "params.yaml").models["scs_astsgd"]
    network = EncoderForecaster(**{**model.network, "coordinates": "fixed"}, subtasks=True, leads=3)
    module = NowcastTraining(network, model.switch, model.subtasks, inputs=2, learning_rate=0.003, seed=1)
    logged: dict[str, float] = {}
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    module.log_dict = lambda of, **_: logged.update(of)  # type: ignore[method-assign,assign]
    module.on_validation_epoch_start()
    module.validation_step((torch.zeros(2, 5, 1, 16, 16), torch.zeros(2, 3, 2, 16, 16)), 0)  # dry
    module.on_validation_epoch_end()
    assert logged == {}
