"""Every mistake in params.yaml is one line that names the file and the key."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.memory import CELL_NUMBERS
from pipelines.params.action import ActionModel
from pipelines.params.driving import DrivingModel
from pipelines.params.nowcast import Cell, Index
from pipelines.params.radar import IngestRadar
from pipelines.params.read import read_params
from pipelines.params.training import Switch
from scs_model.networks import encoder_forecaster, regression
from scs_model.stsgd.switch import KINDS

ROOT = Path(__file__).parents[3]
Content = dict[str, Any]


@pytest.fixture
def content() -> Content:
    """What the repository's params.yaml says."""
    return YAML(typ="safe").load(ROOT / "params.yaml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def refusal(file: Path) -> str:
    """The one line that reading ``file`` ends with, without the file's name."""
    with pytest.raises(UserError) as error:
        read_params(file)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{file}: ")
    return line.removeprefix(f"{file}: ")


def test_the_repository_s_own_file_is_good(content: Content) -> None:
    params = read_params(ROOT / "params.yaml")
    assert params.model_dump(mode="json", exclude_unset=True) == content
    assert all(domain.name == name for name, domain in params.domains.items())
    for name in ("simulate", "ingest_radar", "index", "train", "evaluate"):
        assert getattr(params, name).model_dump(exclude_unset=True).keys() == content[name].keys()


def test_names_are_those_of_the_code_and_of_dvc_yaml() -> None:
    """Params may not import torch, so its names of cells and switches stand there too."""
    assert set(get_args(Cell)) < encoder_forecaster.CELLS.keys() == CELL_NUMBERS.keys()
    for model in (ActionModel, DrivingModel):
        assert set(get_args(model.model_fields["cell"].annotation)) == regression.CELLS.keys()
    assert get_args(Switch.model_fields["kind"].annotation) == KINDS
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    assert stages["evaluate_baseline"]["matrix"]["method"] == "${baselines}"
    depends = {f"ingest_radar.{key}" for key in IngestRadar.model_fields} - {"ingest_radar.sources"}
    assert set(stages["ingest_radar"]["do"]["params"]) == depends


def at(key: str, value: object) -> Callable[[Content], None]:
    """Return what sets a key such as ``index.size``."""

    def change(content: Content) -> None:
        *sections, last = key.split(".")
        for section in sections:
            content = content[section]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("index.size", 0, "greater than or equal to 32"),
        ("index.size", 40, "multiple of 32"),
        ("index.size", "128", "valid integer"),
        ("index.size", 128.0, "valid integer"),
        ("index.size", "many\nlines\nof text", "valid integer"),
        ("index.seed", True, "valid integer"),
        ("index.wet_rate", float("inf"), "finite"),
        ("index.dry_hours", float("nan"), "finite"),
        ("index.dry_hours", "one", "valid number"),
        ("index.max_event_hours", 1e-4, "greater than or equal to 0.01"),  # no second: no event would be cut
        ("index.wet_share", 1.5, "less than or equal to 1"),
        ("index.test_share", 0.0, "greater than 0"),
        ("index.rates", [0.1], "at least 2 items"),
        ("index.rates", [0.1, 1.0, 0.5], "ascending"),
        ("index.rates", [0.1, 0.1], "ascending"),
        ("index.inputs", 1, "greater than or equal to 2"),
        ("simulate.hours", 0.0, "greater than 0"),
        ("ingest_radar.sources.radar", "", "at least 1 character"),
        ("ingest_radar.z_r", 200.0, "section of keys"),
        ("ingest_radar.max_file_mb", 0, "greater than or equal to 1"),
        ("ingest_radar.max_unpacked_mb", 1.5, "valid integer"),
        ("ingest_radar.max_memory_mb", 1023, "greater than or equal to 1024"),  # the libraries alone take 700
        ("ingest_video.max_memory_mb", None, "valid integer"),
        ("models", {}, "at least 1 item"),
        ("models.scs.kernel", 4, "3, 5 or 7"),
        ("models.scs.switch.kind", "both", "'one_sided' or 'two_sided'"),
        ("models.scs.widths", [], "at least 1 item"),
        ("train.learning_rate", -0.1, "greater than 0"),
        ("train.precision", 16, "'bf16' or 'float32'"),
        ("evaluate.thresholds", [], "at least 1 item"),
        ("train", None, "section of keys"),
        ("evaluate.device", "gpu", "'cpu' or 'cuda'"),
        ("domains.simulated.device", 0, "'cpu' or 'cuda'"),
        ("baselines", [], "at least 1 item"),
    ],
)
def test_an_impossible_value_is_named(content: Content, file: Path, key: str, value: object, words: str) -> None:
    at(key, value)(content)
    YAML().dump(content, file)
    line = refusal(file)
    assert line.startswith(f"{key}: ")
    assert words in line
    if isinstance(value, int | float | str) and value != "":
        assert f"(given: {' '.join(str(value).split())})" in line


@pytest.mark.parametrize("key", ["mode", "models.scs.width", "train.step", "ingest_radar.z_r.c", "evaluate.threshold"])
def test_an_unknown_key_is_named(content: Content, file: Path, key: str) -> None:
    at(key, 1)(content)
    YAML().dump(content, file)
    assert refusal(file) == f"{key}: unknown key"


def test_of_a_misspelt_key_the_spelling_is_told_not_what_is_missing(content: Content, file: Path) -> None:
    content["train"]["stpes"] = content["train"].pop("steps")
    YAML().dump(content, file)
    assert refusal(file) == "train.stpes: unknown key"


@pytest.mark.parametrize("key", ["train.steps", "index", "models.scs.switch.kind", "ingest_radar.z_r.b"])
def test_a_missing_key_is_named(content: Content, file: Path, key: str) -> None:
    *sections, last = key.split(".")
    section = content
    for name in sections:
        section = section[name]
    del section[last]
    YAML().dump(content, file)
    assert refusal(file) == f"{key}: missing"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models.convlstm.switch": {"kind": "two_sided", "p": 0.5}}, r"^models\.convlstm: .* switch\.kind"),
        ({"models.scs.switch": {"kind": "off", "p": 0.5}}, r"^models\.scs\.switch: .*kind off stops nothing"),
        ({"models.scs.switch": {"kind": "two_sided"}}, r"^models\.scs\.switch: .*needs p"),
        (
            {"domains.simulated.out": "data/inbox/simulated/out"},
            r"^the file: domains: simulated\.out lies in simulated\.inbox|^domains: simulated\.out lies in",
        ),
        ({"domains.simulated.archive": "data/inbox/simulated/old"}, r"domains: simulated\.archive lies in"),
        ({"domains.simulated.name": "other"}, r"domains: simulated\.name: unknown key"),
        ({"domains.simulated.inbox": ""}, r"domains\.simulated\.inbox: should be the path of a folder"),
        ({"domains.simulated.areas": ""}, r"domains\.simulated\.areas: should be the path of a file"),
        (
            {"domains.simulated.members": {"count": 1}},
            r"domains\.simulated\.members\.count: .* greater than or equal to 2",
        ),
        ({"domains.simulated.members": {"count": 2, "amounts": [5.0, 1.0]}}, r"domains\.simulated\.members\.amounts: "),
        (
            {"index.validation_share": 0.5, "index.test_share": 0.5},
            "^index: validation_share and test_share .* below 1",
        ),
        (
            {"models.scs.coordinates": "fixed", "models.scs.probabilistic": True},
            r"models\.scs: .*leave probabilistic out",
        ),
        ({"models.scs.weighted": False}, r"models\.scs: .*set coordinates to fixed"),
        ({"models.scs.coordinates": "polar"}, r"models\.scs\.coordinates: .*'moving' or 'fixed'"),
        ({"baselines": ["persistence", "steps"]}, r"baselines: extrapolation is none of them, which a network"),
        ({"models.up/there": {}}, r"^models\.up/there\."),
    ],
)
def test_values_that_contradict_each_other(
    content: Content, file: Path, changes: dict[str, object], words: str
) -> None:
    for key, value in changes.items():
        at(key, value)(content)
    YAML().dump(content, file)
    assert re.search(words, refusal(file))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: [1, 2", "not YAML: line "),
        (b"train:\n  seed: 1\n  seed: 2\n", 'not YAML: line 3: found duplicate key "seed"'),
        (b"a: !!python/object/apply:os.getcwd []", "not YAML: line 1: "),
        (b"\xff\xfea", "not YAML: "),
        (b"a: \x00", "not YAML: "),
        (b"", "the file: should be a section of keys"),
        (b"- a\n- b\n", "the file: should be a section of keys"),
    ],
)
def test_what_is_not_a_file_of_keys(file: Path, text: bytes, words: str) -> None:
    file.write_bytes(text)
    assert refusal(file).startswith(words)


def test_a_file_that_can_t_be_read(file: Path) -> None:
    assert refusal(file) == "No such file or directory"
    file.mkdir()
    assert refusal(file) == "Is a directory"


def test_it_is_read_as_dvc_writes_it(content: Content, file: Path) -> None:
    # `dvc exp run -S` rewrites the whole file in YAML 1.2, where the word off needs no quotes and 1e-3 is a number.
    text = (ROOT / "params.yaml").read_text().replace('"off"', "off").replace("0.001", "1e-3")
    assert "kind: off" in text
    assert "1e-3" in text
    file.write_text(text)
    assert read_params(file).model_dump(mode="json", exclude_unset=True) == content


@given(st.floats(0, 1, exclude_min=True, exclude_max=True), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_shares_leave_some_for_training(validation: float, test: float) -> None:
    index = YAML(typ="safe").load(ROOT / "params.yaml")["index"]
    index |= {"validation_share": validation, "test_share": test}
    if validation + test < 1:
        assert Index.model_validate(index).test_share == test
    else:
        with pytest.raises(ValueError, match="below 1"):
            Index.model_validate(index)
