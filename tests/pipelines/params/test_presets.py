"""The presets are sections of params.yaml, each value with its source beside it."""

from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from ruamel.yaml import YAML

from pipelines.params.read import Params, read_params
from scs_model.networks.plan import plan_layers

PRESETS = sorted((REPOSITORY / "presets").glob("*.yaml"))


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def merged(preset: Path) -> Params:
    return Params.model_validate(load(REPOSITORY / "params.yaml") | load(preset))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_takes_its_sections_places(preset: Path) -> None:
    merged(preset)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_value_says_where_it_is_from_and_an_unknown_one_is_our_default(preset: Path) -> None:
    defaults = load(REPOSITORY / "params.yaml")
    section = ""
    for line in preset.read_text(encoding="utf-8").splitlines():
        key, _, rest = line.partition(":")
        value, _, source = rest.partition(" #")
        if not line.startswith((" ", "#")):
            section = key
        if not value.strip() or line.startswith("#"):
            continue
        assert len(source) > 5, f"no source: {line}"
        if source.startswith(" unknown") and section.split("_")[0] == "train":
            assert YAML(typ="safe").load(value) == defaults[section].get(key.strip()), line


def test_the_network_of_actions_is_the_authors() -> None:
    """Channels and strides as written in src/network.py of their repository."""
    model = merged(REPOSITORY / "presets/action.yaml").action_models["paper"]
    plan = plan_layers(model.depth, model.width)
    assert [layer.channels for layer in plan] == [64] * 5 + [128] * 4 + [256] * 4 + [512] * 4
    assert [layer.stride for layer in plan] == [2, 1, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1]
    assert model.switch.adaptive is not None
    assert model.switch.adaptive.fraction == pytest.approx(1 / 5.99, rel=0.01)  # utils.py: thresh / initial_loss


def test_params_yaml_is_no_preset() -> None:
    assert "paper" not in read_params(REPOSITORY / "params.yaml").action_models
