"""`scs gradients`: what the paper counts beside what a network's back-propagation gives."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from video_files import small_store

from pipelines.action.gradients import action_gradients
from pipelines.common.errors import UserError
from pipelines.params.action import ActionModel, TrainAction
from pipelines.params.training import Switch
from scs_model.networks.recognition import Recognizer

MODEL = {"cell": "scs", "depth": 3, "width": 2, "switch": {"kind": "off"}}
TRAIN = TrainAction.model_validate(
    {"seed": 1, "steps": 6, "checkpoint_steps": 2, "batch_size": 4, "learning_rate": 0.003, "precision": "float32"}
    | {"frames": 7, "piece": 4, "size": 32}
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_store(tmp_path_factory.mktemp("gradients"))


def test_chains_and_norms_of_a_network_before_and_after(store: Path, tmp_path: Path) -> None:
    network = {"cell": "scs", "depth": 3, "width": 2, "subtasks": False}
    weights = Recognizer(**network, classes=14).state_dict()
    for name in weights:  # a gate that hears nothing of its input and of its state: gradients go through S alone
        if "temporal.weight" in name or "state.weight" in name:
            weights[name] = torch.zeros_like(weights[name])
    save_file(weights, tmp_path / "weights.safetensors")
    classes = json.dumps([f"c{i}" for i in range(14)])
    (tmp_path / "model.json").write_text(
        f'{{"method": "recognizer", "name": "m", "network": {json.dumps(network)}, "classes": {classes},'
        '"size": 32, "short_side": 32, "rate": null, "piece": 4}'
    )
    switches = [Switch(kind="off"), Switch(kind="two_sided", p=1.0), Switch(kind="two_sided", p=0.5)]
    model = ActionModel.model_validate(MODEL)
    rows = action_gradients(model, TRAIN, store, switches, trained=tmp_path, draws=4)
    table = rows.pivot_table(index=["quantity", "switch", "layer"], columns="frame", values="log10", dropna=False)

    # Plain, at the last frame: 2 ways a layer; the line around layers 2 and 3 adds one: 2, 4 + 1, and twice that.
    chains = 10 ** table.loc["expected chains", "plain back-propagation"]
    assert chains[4].tolist() == pytest.approx([10.0, 5.0, 2.0])
    spatial = "STSGD two_sided p=1"
    assert (10 ** table.loc["expected chains", spatial])[4].tolist() == pytest.approx([2.0, 2.0, 1.0])
    # With p = 1 the temporal path is shut, and where it says nothing, nothing is lost by that.
    before, after = (table.loc[quantity] for quantity in ("norm, untrained", "norm, trained"))
    assert np.allclose(after.loc[spatial], after.loc["plain back-propagation"], atol=1e-4)
    assert not np.allclose(before.loc[spatial], before.loc["plain back-propagation"], atol=1e-2)


def test_refusals(store: Path, tmp_path: Path) -> None:
    off = [Switch(kind="off")]
    with pytest.raises(UserError, match="only the cell scs"):
        action_gradients(ActionModel.model_validate(MODEL | {"cell": "cnn"}), TRAIN, store, off)
    with pytest.raises(UserError, match="not a model's description"):
        action_gradients(ActionModel.model_validate(MODEL), TRAIN, store, off, trained=tmp_path)
