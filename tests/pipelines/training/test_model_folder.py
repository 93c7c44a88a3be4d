"""Every task's model folder: what it asks for is compared with its weights before it takes memory."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outline_files import NETWORK as OUTLINE
from safetensors.torch import load_file, save_file
from small_model import NETWORK as RADAR
from torch import nn

from pipelines.action.recognizer import load_recognizer
from pipelines.common.errors import UserError
from pipelines.driving.steering import load_steering
from pipelines.nowcast.methods.interface import load_forecaster
from pipelines.outline.annotator import load_annotator
from scs_model import EncoderForecaster
from scs_model.networks.outline import OutlineNetwork
from scs_model.networks.recognition import Recognizer
from scs_model.networks.regression import Regressor

ACTION = {"cell": "scs", "depth": 3, "width": 2}
OF_ACTION = {"method": "recognizer", "classes": ["a", "b"], "size": 32, "short_side": 32, "rate": 5.0, "piece": 4}
OF_DRIVING = {"method": "steering", "frames": 2, "rate": 5.0, "ahead_s": 0.0, "unit": "degrees", "scale": 1.0}
OF_DRIVING |= {"height": 32, "width": 96}
OF_OUTLINE = {"method": "outline", "classes": ["a"], "max_vertices": 4}
TASKS: dict[str, tuple[Callable[[Path], Any], Callable[..., nn.Module], dict[str, Any], dict[str, Any]]] = {
    "action": (load_recognizer, lambda **network: Recognizer(**network, classes=2), ACTION, OF_ACTION),
    "driving": (load_steering, lambda **network: Regressor(**network, outputs=1), ACTION, OF_DRIVING),
    "outline": (load_annotator, OutlineNetwork, OUTLINE, OF_OUTLINE),
    "radar": (lambda folder: load_forecaster(folder)[0], EncoderForecaster, RADAR, {"method": "network", "inputs": 4}),
}


def write(folder: Path, task: str, **changes: Any) -> Callable[[], Any]:
    """A folder whose weights are of a small network, and whose description asks for another; return its loading."""
    loader, build, network, others = TASKS[task]
    save_file(build(**network).state_dict(), folder / "weights.safetensors")
    description = {"name": "m", "network": {**network, **changes}, **others}
    (folder / "model.json").write_text(json.dumps(description))
    return lambda: loader(folder)


@pytest.mark.parametrize("task", TASKS)
def test_one_that_asks_for_what_it_holds_is_loaded(tmp_path: Path, task: str) -> None:
    network, held = write(tmp_path, task)().network, load_file(tmp_path / "weights.safetensors")
    assert all(tensor.equal(held[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("action", {"width": 1000}),
        ("driving", {"width": 1000, "depth": 9}),
        ("driving", {"columns": 1 << 40}),
        ("outline", {"channels": 6000}),
        ("radar", {"widths": [6000, 6000]}),
        ("radar", {"leads": 1 << 40}),
    ],
)
def test_a_network_that_is_asked_for_takes_no_memory(tmp_path: Path, task: str, changes: dict[str, Any]) -> None:
    """Each would take a gigabyte or more."""
    load = write(tmp_path, task, **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"weights\.safetensors: size mismatch: \S+ is .*, and model\.json asks for "):
        load()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB; on macOS bytes


@pytest.mark.parametrize(
    ("task", "changes", "words"),
    [
        ("action", {"depth": 10**9}, "network.depth: .*less than or equal to 1000"),
        ("driving", {"depth": 10**9}, "network.depth: .*less than or equal to 1000"),
        ("outline", {"depth": 10**9}, "network.depth: .*less than or equal to 1000"),
        ("outline", {"blocks": [1, 1, 1, 10**9]}, "network.blocks.3: .*less than or equal to 1000"),
        ("radar", {"widths": [1] * 2000}, "network.widths: .*at most 1000 items"),
        ("radar", {"widths": [1] * 1_000_000}, "too large"),
    ],
)
def test_so_many_layers_are_not_begun_with(tmp_path: Path, task: str, changes: dict[str, Any], words: str) -> None:
    load = write(tmp_path, task, **changes)
    with pytest.raises(UserError, match=rf"model\.json: not a model's description: {words}"):
        load()


def test_a_tensor_that_is_not_asked_for_is_named(tmp_path: Path) -> None:
    load = write(tmp_path, "outline", subtasks=True)
    with pytest.raises(UserError, match=r"mismatch: t1_head\.bias is not there, and model\.json asks for \[2\]$"):
        load()
