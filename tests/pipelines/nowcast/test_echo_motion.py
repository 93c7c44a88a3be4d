from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from archive import moving_cells, write_archive
from test_train import small_params

from pipelines.nowcast.echo_motion import WithMotion, echo_motion
from pipelines.nowcast.index import index
from pipelines.nowcast.lightning_module import NowcastTraining
from pipelines.nowcast.windows import RadarWindows
from pipelines.params.read import read_params
from scs_model import EncoderForecaster


def test_motion_is_that_of_the_cells() -> None:
    """Cells were moved by 2 columns and 1 row a frame; the flow says so where the echo is."""
    frames = moving_cells("2024-06-01T12:00:00", 4, speed=(2.0, 1.0))
    rain_rate = np.stack([frame.rain_rate for frame in frames])
    motion = echo_motion(rain_rate)
    assert motion.shape == (3, 2, 64, 64)
    inside = np.s_[8:-8, 8:-8]  # cells wrap around; a flow can't see that
    for frame, (x, y) in zip(rain_rate, motion, strict=False):
        echo = frame[inside] > 1.0
        assert np.median(x[inside][echo]) == pytest.approx(2.0, abs=0.2)
        assert np.median(y[inside][echo]) == pytest.approx(1.0, abs=0.2)


def test_nothing_seen_and_no_rain_are_no_error() -> None:
    assert np.isfinite(echo_motion(np.full((2, 32, 32), np.nan, np.float32))).all()
    assert np.isfinite(echo_motion(np.zeros((2, 32, 32), np.float32))).all()


def test_a_sample_has_the_motion_from_its_newest_observed_frame_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_archive(Path("radar.zarr"))
    params = small_params(tmp_path).index
    index({"radar": Path("radar.zarr")}, Path("windows.parquet"), params)
    table = pd.read_parquet("windows.parquet")
    windows = RadarWindows(table, params.inputs, params.leads, params.size)
    window, motion = WithMotion(windows)[3]
    assert motion.shape == (params.leads, 2, params.size, params.size)
    np.testing.assert_array_equal(motion, echo_motion(window[params.inputs - 1 :, 0].numpy()))


@pytest.mark.parametrize("name", ["scs", "scs_stsgd", "scs_astsgd", "convlstm", "convgru", "trajgru"])
def test_every_model_of_params_yaml_learns_a_batch_by_heart(name: str) -> None:
    """A few steps on one batch make the main loss smaller, whatever the cell, the switch and the subtasks."""
    params = read_params(Path(__file__).parents[3] / "params.yaml")
    model = params.models[name]
    torch.manual_seed(0)
    network = EncoderForecaster(**model.network, subtasks=model.subtasks is not None, leads=4)
    module = NowcastTraining(network, model.switch, model.subtasks, inputs=4, learning_rate=0.003, seed=1)
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
