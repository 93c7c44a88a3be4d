"""The whole of params.yaml; each key's type, unit, meaning and bounds are in pipelines/params.

A stage reads its own sections with :func:`read_params`; the whole file is checked each time, so a misspelt
key is found by the first stage that runs, in one line that names it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipelines.common.errors import UserError
from pipelines.common.imports import CODE
from pipelines.params.action import ActionModel, EvaluateAction, TrainAction
from pipelines.params.base import ModelName, Section, reason_of
from pipelines.params.driving import DrivingModel, EvaluateDriving, IngestDrives, SimulateDrives, TrainDriving
from pipelines.params.executor import Executor
from pipelines.params.fetch import Fetch
from pipelines.params.images import IngestImages, SimulateImages
from pipelines.params.nowcast import BASELINES, Baseline, Evaluate, Index, Model, Probabilities, Train
from pipelines.params.operation import Domain
from pipelines.params.outline import EvaluateOutline, OutlineModel, TrainOutline
from pipelines.params.radar import ArchiveName, IngestRadar, Simulate
from pipelines.params.video import IngestVideo, SimulateVideo

Value = TypeVar("Value")
SHIPPED = CODE / "pipelines/project/params.yaml"


class Params(Section):
    """The whole of params.yaml."""

    executor: Executor = Executor()
    simulate: Simulate
    fetch: dict[ArchiveName, Fetch] = Field(default={}, description="archives elsewhere, for scs fetch")
    ingest_radar: IngestRadar
    index: Index
    baselines: list[Baseline] = Field(
        default=["persistence", "extrapolation", "sprog", "steps", *get_args(Probabilities)],
        min_length=1,
        description="methods that need no training, to score",
    )
    trained: list[ModelName] = Field(min_length=1, description="models to train")
    models: dict[ModelName, Model] = Field(min_length=1)
    train: Train
    evaluate: Evaluate
    trained_action: list[ModelName] = Field(min_length=1, description="action_models to train")
    action_models: dict[ModelName, ActionModel] = Field(min_length=1)
    train_action: TrainAction
    evaluate_action: EvaluateAction
    trained_outline: list[ModelName] = Field(min_length=1, description="outline_models to train")
    outline_models: dict[ModelName, OutlineModel] = Field(min_length=1)
    train_outline: TrainOutline
    evaluate_outline: EvaluateOutline
    simulate_video: SimulateVideo
    ingest_video: IngestVideo
    simulate_drives: SimulateDrives
    ingest_drives: IngestDrives
    simulate_images: SimulateImages
    ingest_images: IngestImages
    trained_driving: list[ModelName] = Field(min_length=1, description="driving_models to train")
    driving_models: dict[ModelName, DrivingModel] = Field(min_length=1)
    train_driving: TrainDriving
    evaluate_driving: EvaluateDriving

    @model_validator(mode="after")
    def _names_are_not_taken(self) -> "Params":
        if taken := set(BASELINES) & self.models.keys():
            raise ValueError(f"models: {', '.join(taken)} is a baseline's name")
        return self

    @model_validator(mode="after")
    def _trained_are_there(self) -> "Params":
        for task in ("", "_action", "_driving", "_outline"):
            trained, models = f"trained{task}", f"{task[1:]}_models".removeprefix("_")
            if unknown := set(getattr(self, trained)) - getattr(self, models).keys():
                raise ValueError(f"{trained}: {', '.join(sorted(unknown))}: no such key in {models}")
        return self

    @model_validator(mode="after")
    def _extrapolation_is_scored(self) -> "Params":
        if "extrapolation" not in self.baselines:
            raise ValueError("baselines: extrapolation is none of them, which a network has to beat")
        return self

    @model_validator(mode="after")
    def _splits_are_of_archives(self) -> "Params":
        if unknown := self.index.splits.keys() - self.ingest_radar.sources.keys():
            raise ValueError(f"index.splits: {', '.join(sorted(unknown))}: no such key in ingest_radar.sources")
        return self

    # Names are part of Prefect's addresses.
    domains: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")], Domain]

    @field_validator("domains", mode="before")
    @classmethod
    def _domains_know_their_names(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if own := [name for name, domain in given.items() if isinstance(domain, dict) and "name" in domain]:
            raise ValueError(f"{own[0]}.name: unknown key")
        return {name: domain | {"name": name} if isinstance(domain, dict) else domain for name, domain in given.items()}

    @model_validator(mode="after")
    def _domains_share_no_folder(self) -> "Params":
        for key in ("inbox", "store", "out", "archive"):
            given = (getattr(domain, key) for domain in self.domains.values())
            folders = [folder for folder in given if folder is not None]
            if shared := {str(folder) for folder in folders if folders.count(folder) > 1}:
                raise ValueError(f"domains: {key}: two domains share {', '.join(shared)}")
        return self

    @model_validator(mode="after")
    def _nothing_lies_in_an_inbox(self) -> "Params":
        folders = {
            f"{name}.{key}": Path(os.path.abspath(folder))  # noqa: PTH100 - it resolves .. by name
            for name, domain in self.domains.items()
            for key in ("inbox", "store", "out", "archive")
            if (folder := getattr(domain, key)) is not None
        }
        for name in self.domains:
            inbox = folders[f"{name}.inbox"]
            for other, folder in folders.items():
                if other != f"{name}.inbox" and folder.is_relative_to(inbox):
                    raise ValueError(
                        f"domains: {other} lies in {name}.inbox, whose files are taken with its subfolders"
                    )
        return self

    def domain(self, name: str) -> Domain:
        """Return the domain of this name; raises UserError if there is none."""
        return entry(self.domains, "domains", name)


def entry(section: Mapping[str, Value], key: str, name: str) -> Value:
    """Return what a section of params.yaml, whose key is ``key``, has under a name; raises UserError if nothing."""
    if name not in section:
        raise UserError(f"params.yaml: {key}: no {name!r} among {', '.join(section) or 'none'}")
    return section[name]


def params_by_hand() -> Params:
    """Return what params.yaml says, and in a folder without one what the package's own does: a hand needs none."""
    return read_params() if Path("params.yaml").exists() else read_params(SHIPPED)


def params_if_any() -> Params | None:
    """Return what params.yaml says, None where there is none: by hand, a file or folder needs none."""
    return read_params() if Path("params.yaml").exists() else None


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises
    ------
    UserError
        One line naming the file, the key and what is wrong with it.
    """
    try:
        # YAML 1.2, as DVC reads and writes it: there off is a word and 1e-4 a number.
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        return Params.model_validate(content)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{path}: not YAML: {line}{error.problem}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise UserError(f"{path}: {reason_of(error)}") from None
