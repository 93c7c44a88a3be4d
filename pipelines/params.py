"""Every knob of a run: type, unit, meaning and bounds of each key in params.yaml.

A stage reads its own sections with :func:`read_params`; the whole file is checked each time, so a misspelt
key is found by the first stage that runs, in one line that names it.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipelines.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
# A model's name becomes a folder's.
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Section(BaseModel):
    """A section of params.yaml: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Simulate(Section):
    """The embedded archive: what to simulate."""

    seed: int = Field(ge=0, description="seed of every random draw")
    events: int = Field(ge=1, le=200, description="separate rain events")
    hours: float = Field(gt=0, le=24, description="length of an event, hours")
    size: int = Field(ge=64, le=2048, description="rows and columns, pixels of 1 km")


class ZR(Section):
    """Z = a·R^b, with Z in mm⁶ m⁻³ and R in mm/h."""

    a: float = Field(gt=0)
    b: float = Field(gt=0)


class Regrid(Section):
    """Another grid for the store than the files'."""

    crs: str | None = Field(description="projection in PROJ's words, such as EPSG:3035; null for the files' own")
    resolution: float = Field(gt=0, description="pixel size in the projection's unit")
    min_valid: Share = Field(description="share of what a pixel is made of that must be known")


class IngestRadar(Section):
    """Where the radar files are and how reflectivity becomes rain."""

    source: str = Field(min_length=1, description="folder of radar files, searched with its subfolders")
    z_r: ZR
    max_rate: float = Field(gt=0, le=655.34, description="a higher rain rate is clutter or hail, mm/h")
    above_max_rate: Literal["clip", "mask"] = Field(description="make it max_rate, or unknown")
    regrid: Regrid | None = Field(default=None, description="another grid; null for the files' own")
    license: str = Field(min_length=1, description="SPDX identifier of the files' licence")


class Index(Section):
    """How the archive is cut into windows, events and splits."""

    inputs: int = Field(ge=2, description="observed frames of a window (T_in)")
    leads: Positive = Field(description="frames of a window to forecast (T_out)")
    size: int = Field(ge=32, multiple_of=32, description="rows and columns of a window, pixels; see scs_model.cascade")
    stride: Positive = Field(description="pixels from one window to the next, both ways")
    time_stride: Positive = Field(description="frames from one window to the next")
    wet_rate: float = Field(gt=0, description="rain rate from which a pixel is wet, mm/h")
    wet_share: Share = Field(description="wet share that a frame needs not to be dry")
    train_wet_share: Share = Field(description="wet share that a window of the train split needs")
    dry_hours: float = Field(gt=0, description="dry or missing hours that end an event")
    max_event_hours: float = Field(ge=0.01, description="a longer event is cut here, hours")
    validation_share: float = Field(gt=0, lt=1, description="share of the events for validation, one at least")
    test_share: float = Field(gt=0, lt=1, description="share of the events for test, one at least")
    seed: int = Field(ge=0, description="seed of the draw of events into splits")

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> "Index":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave no event for training: their sum must be below 1")
        return self


class Adaptive(Section):
    """ASTSGD: how the switch's p follows the training; see scs_model.adaptive."""

    fraction: float = Field(gt=0, lt=1, description="T¹ counts as learned at this share of its first loss (f)")
    gain: float = Field(ge=0, description="answer of p to the main loss being worse than T¹'s (α)")
    warmup: Positive = Field(description="steps whose mean is T¹'s first loss (K)")
    smoothing: float = Field(ge=0, lt=1, description="weight of the past in a loss's mean, for each step")


class Switch(Section):
    """Which gradients STSGD stops."""

    kind: Literal["off", "one_sided", "two_sided"]
    p: Share = Field(
        default=0.0, description="stop probability of the temporal path; with adaptive, p0 of a learned T¹"
    )
    adaptive: Adaptive | None = Field(default=None, description="ASTSGD; without it p stays")

    @model_validator(mode="after")
    def _p_belongs_to_a_switch(self) -> "Switch":
        if self.kind == "off" and (self.p or self.adaptive):
            raise ValueError("kind off stops nothing: leave p and adaptive out")
        if self.kind != "off" and "p" not in self.model_fields_set:
            raise ValueError(f"kind {self.kind} needs p")
        return self

    def describe(self) -> str:
        """Name the switch as papers do."""
        if self.kind == "off":
            return "off"
        return f"{'ASTSGD' if self.adaptive else 'STSGD'} {self.kind} p={self.p:g}"


class Subtasks(Section):
    """Weights of the subtasks' losses beside the main one."""

    t1: float = Field(ge=0, description="of T¹, the task's spatial half: the newest frame reconstructed, or the class")
    t2: float = Field(ge=0, description="of T², motion: the echo's, or optical flow")


class Switched(Section):
    """What every network has that SCS may be in: which gradients are stopped, and what the subtasks weigh."""

    cell: str
    switch: Switch
    subtasks: Subtasks | None = Field(default=None, description="without it they cost nothing")

    @model_validator(mode="after")
    def _only_scs_switches(self) -> "Switched":
        if self.cell != "scs" and self.switch.kind != "off":
            raise ValueError("only the cell scs has paths to switch: set switch.kind to off")
        if self.cell != "scs" and self.subtasks:
            raise ValueError("only the cell scs has streams for subtasks: leave subtasks out")
        if self.switch.adaptive and not self.subtasks:
            raise ValueError("switch.adaptive needs subtasks: it follows their T¹")
        if self.switch.adaptive and self.switch.kind != "two_sided":
            raise ValueError("switch.adaptive is of the two-sided switch")
        return self


class Model(Switched):
    """An encoder–forecaster of one recurrent cell."""

    cell: Literal["scs", "convlstm", "convgru", "trajgru"]
    widths: list[Positive] = Field(min_length=1, description="channels of each recurrent layer, from the input on")
    kernel: Literal[3, 5, 7] = Field(description="rows and columns of a recurrent layer's kernels")
    downsample: Literal[1, 2, 4, 8] = Field(description="pixels of the grid to one cell of the network, each way")
    residual: bool = Field(description="whether a recurrent layer's input is added to its output")

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of the network that forecasts: all but what only training needs."""
        return self.model_dump(include={"cell", "widths", "kernel", "downsample", "residual"})


class Fit(Section):
    """How a network is trained, whatever its task; the same for every model of it."""

    seed: int = Field(ge=0)
    steps: Positive = Field(description="optimiser steps")
    checkpoint_steps: Positive = Field(description="steps from one checkpoint and validation to the next")
    batch_size: Positive
    devices: Positive = Field(default=1, description="GPUs of a machine, or processes of its CPU, that share a batch")
    learning_rate: float = Field(gt=0)
    precision: Literal["auto", "bf16", "float32"] = Field(description="auto: bf16 where the processor has it")


class Train(Fit):
    """How a network that forecasts is trained."""

    validation_windows: Positive = Field(description="windows of the validation split to look at, evenly chosen")


class Evaluate(Section):
    """What the tables say."""

    thresholds: list[Annotated[float, Field(gt=0)]] = Field(min_length=1, description="rain rates, mm/h")
    time_stride: Positive = Field(description="frames from one test forecast to the next")
    steps_members: int = Field(ge=2, description="members of the STEPS ensemble, whose mean is scored; 12 for a result")
    seed: int = Field(ge=0, description="of STEPS' noise")


class SimulateVideo(Section):
    """The embedded clips: how many of what to simulate."""

    seed: int = Field(ge=0, description="seed of every random draw")
    groups: int = Field(ge=3, le=99, description="backgrounds and figures; the last quarter of them is the test list")
    clips: int = Field(ge=1, le=99, description="clips of each class in each group")
    frames: int = Field(ge=2, le=1000, description="frames of a clip")
    rate: int = Field(ge=1, le=60, description="frames a second")
    size: int = Field(ge=32, le=1024, multiple_of=2, description="rows and columns, pixels")


class IngestVideo(Section):
    """Where the videos are, and how they become clips."""

    source: str = Field(min_length=1, description="folder of videos, searched with its subfolders")
    short_side: int = Field(ge=16, le=1080, multiple_of=4, description="shorter side of a stored frame, pixels")
    rate: float | None = Field(gt=0, description="stored frames a second, the nearest in time; null for all there are")
    min_frames: Positive = Field(description="a clip with fewer stored frames goes into quarantine")
    frame_folder_rate: float = Field(gt=0, description="frames a second of videos that are folders of pictures")
    flow: Literal["store", "loader"] = Field(description="optical flow: stored, or computed when a sample is loaded")
    official_split: Positive = Field(description="which of the official lists, where the layout has several")
    group: str | None = Field(
        description="regular expression in a video's path whose first group is its source; null for the layout's own"
    )
    validation_share: float = Field(gt=0, lt=1, description="share of the groups for validation, where it is drawn")
    test_share: float = Field(gt=0, lt=1, description="share of the groups for test, where no list says it")
    seed: int = Field(ge=0, description="seed of the draw of groups into splits")
    license: str = Field(min_length=1, description="SPDX identifier of the videos' licence")

    @field_validator("group")
    @classmethod
    def _group_is_a_pattern(cls, group: str | None) -> str | None:
        try:
            if group is not None and re.compile(group).groups < 1:
                raise ValueError("it needs a group in parentheses")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return group

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> "IngestVideo":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave no group for training: their sum must be below 1")
        return self


class ActionModel(Switched):
    """A network that recognises actions; see scs_model.recognition."""

    cell: Literal["scs", "convlstm", "cnn", "cnn_lstm"]
    depth: Positive = Field(description="layers; the paper's network has 17")
    width: Positive = Field(description="channels of the first layer, and more at coarser scales; the paper's has 64")
    coherence: float = Field(default=0.0, ge=0, description="weight of overlapping pieces' agreement (λ)")

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of the network but for the number of classes."""
        return self.model_dump(include={"cell", "depth", "width"}) | {"subtasks": self.subtasks is not None}


class TrainAction(Fit):
    """How a network that recognises actions is trained."""

    devices: Literal[1] = 1  # several backward passes make a step, which Lightning's DDP can't share
    frames: int = Field(ge=2, description="frames of a sample")
    piece: int = Field(ge=2, description="frames that are run at once; pieces overlap by a quarter")
    size: int = Field(ge=32, multiple_of=32, description="rows and columns of a sample, pixels")


class EvaluateAction(Section):
    """What the tables of action recognition say."""

    observed: list[Positive] = Field(min_length=1, description="frames after which to say what a clip shows")


class Domain(Section):
    """A radar's area: where its frames come in, and what goes out when."""

    inbox: str = Field(min_length=1, description="folder that the radar's files come into; see pipelines.collect")
    store: str = Field(min_length=1, description="the live store's folder")
    license: str = Field(min_length=1, description="SPDX identifier of the files' licence")
    model: str = Field(min_length=1, description="MLflow URI of a registered model")
    cron: str = Field(min_length=1, description="when to forecast, UTC: minute, hour, day, month, weekday")
    minutes: Positive = Field(description="longest lead time, minutes")
    max_age_minutes: Positive | None = Field(
        description="no forecast from a newest frame that is older; null for a replay of the past"
    )
    out: str = Field(min_length=1, description="folder of the forecasts; each cycle gets one of its own in it")


class Params(Section):
    """The whole of params.yaml."""

    simulate: Simulate
    ingest_radar: IngestRadar
    index: Index
    models: dict[ModelName, Model] = Field(min_length=1)
    train: Train
    evaluate: Evaluate
    action_models: dict[ModelName, ActionModel] = Field(min_length=1)
    train_action: TrainAction
    evaluate_action: EvaluateAction
    simulate_video: SimulateVideo
    ingest_video: IngestVideo

    @model_validator(mode="after")
    def _names_are_not_taken(self) -> "Params":
        if taken := {"persistence", "extrapolation", "sprog", "steps"} & self.models.keys():
            raise ValueError(f"models: {', '.join(taken)} is a baseline's name")
        return self

    # Names are part of Prefect's addresses.
    domains: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")], Domain]

    @model_validator(mode="after")
    def _domains_share_no_folder(self) -> "Params":
        for key in ("inbox", "store", "out"):
            folders = [Path(getattr(domain, key)) for domain in self.domains.values()]
            if shared := {str(folder) for folder in folders if folders.count(folder) > 1}:
                raise ValueError(f"domains: {key}: two domains share {', '.join(shared)}")
        return self

    @model_validator(mode="after")
    def _nothing_lies_in_an_inbox(self) -> "Params":
        folders = {
            f"{name}.{key}": Path(os.path.abspath(getattr(domain, key)))  # noqa: PTH100 - it resolves .. by name
            for name, domain in self.domains.items()
            for key in ("inbox", "store", "out")
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
        """Give the domain of this name.

        Raises
        ------
        UserError
            If there is none.
        """
        if name not in self.domains:
            raise UserError(f"params.yaml: domains: no {name!r} among {', '.join(self.domains) or 'none'}")
        return self.domains[name]


REASONS = {"extra_forbidden": "unknown key", "missing": "missing", "model_type": "should be a section of keys"}


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
        # A misspelt key is an unknown one and a missing one: the first says more.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key = ".".join(map(str, first["loc"])) or "the file"
        reason = REASONS.get(first["type"], first["msg"].removeprefix("Value error, "))
        told = first["type"] in ("extra_forbidden", "missing", "value_error")
        given = "" if told else f" (given: {' '.join(str(first['input']).split())[:60]})"
        raise UserError(f"{path}: {key}: {reason}{given}") from None
