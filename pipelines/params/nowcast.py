"""Sections of the radar nowcast: windows, networks, training, scores; and the names of the methods."""

from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from pipelines.params.base import Device, Positive, Section, Share
from pipelines.params.radar import ArchiveName
from pipelines.params.training import Fit, Switched

FieldKind = Literal["matched", "mean", "median", "optimal"]  # that stand for a distribution
Cell = Literal["scs", "convlstm", "convgru", "trajgru"]
Coordinates = Literal["moving", "fixed"]
Fallback = Literal["persistence", "extrapolation"]  # at hand where no model is
Probabilities = Literal["lagrangian_probability", "neighbourhood", "climatology"]  # whose field is but their mean
Baseline = Literal[Fallback, "sprog", "steps", "linda", Probabilities]  # what needs no training
BASELINES: tuple[str, ...] = get_args(Baseline)
PYSTEPS = ("extrapolation", "sprog", "steps", "linda")  # what a network's field has to beat


def _ascending(rates: list[float]) -> list[float]:
    if any(low >= high for low, high in pairwise(rates)):
        raise ValueError(f"ascending rain rates, each once (given: {rates})")
    return rates


Rates = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2), AfterValidator(_ascending)]  # mm/h


class Index(Section):
    """How the archives are cut into windows, events and splits."""

    inputs: int = Field(ge=2, description="observed frames of a window (T_in)")
    leads: Positive = Field(description="frames of a window to forecast (T_out)")
    size: int = Field(ge=32, multiple_of=32, description="rows and columns of a window, pixels")
    stride: Positive = Field(description="pixels from one window to the next, both ways")
    time_stride: Positive = Field(description="frames from one window to the next")
    wet_rate: float = Field(gt=0, description="rain rate from which a pixel is wet, mm/h")
    wet_share: Share = Field(description="wet share that a frame needs not to be dry")
    train_wet_share: Share = Field(description="wet share that a window of the train split needs")
    dry_hours: float = Field(gt=0, description="dry or missing hours that end an event")
    max_event_hours: float = Field(ge=0.01, description="a longer event is cut here, hours")
    validation_share: float = Field(gt=0, lt=1, description="share of the events for validation, one at least")
    test_share: float = Field(gt=0, lt=1, description="share of the events for test, one at least")
    step_s: Positive | None = Field(
        default=None, description="seconds from frame to frame that all archives are brought to; null: their own"
    )
    rates: Rates = Field(
        default=[0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0],
        description="rain rates of every probability, in training, scores and products, mm/h, ascending",
    )
    seed: int = Field(ge=0, description="seed of the draw of events into splits")
    by_day: bool = Field(
        default=False, description="whether UTC days are drawn, each with all of its archives, and no single events"
    )
    splits: dict[ArchiveName, Literal["train", "validation", "test"]] = Field(
        description="archives that are of one split as a whole; the events of the others are drawn"
    )

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> "Index":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave no event for training: their sum must be below 1")
        return self


class Model(Switched):
    """An encoder–forecaster of one recurrent cell."""

    cell: Cell
    widths: list[Positive] = Field(min_length=1, description="channels of each recurrent layer, from the input on")
    kernel: Literal[3, 5, 7] = Field(description="rows and columns of a recurrent layer's kernels")
    downsample: Literal[1, 2, 4, 8] = Field(description="pixels of the grid to one cell of the network, each way")
    residual: bool = Field(description="whether a recurrent layer's input is added to its output")
    coordinates: Coordinates = Field(
        default="moving", description="of what it sees and forecasts: they move with the rain, or are those of the grid"
    )
    weighted: bool = Field(
        default=True, description="in fixed coordinates: whether errors weigh by rain rate, or all pixels the same"
    )
    probabilistic: bool = Field(default=False, description="whether it gives probabilities at index.rates")
    field: FieldKind = Field(default="matched", description="rain field that a probabilistic one forecasts")

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of the network that forecasts: all but what only training needs."""
        return self.model_dump(include={"cell", "widths", "kernel", "downsample", "residual", "coordinates"})

    @model_validator(mode="after")
    def _coordinates_go_with_the_loss(self) -> "Model":
        if self.coordinates == "fixed" and self.probabilistic:
            raise ValueError("in fixed coordinates a network gives no probabilities: leave probabilistic out")
        if self.coordinates == "moving" and not self.weighted:
            raise ValueError("weighted is of fixed coordinates: leave it out, or set coordinates to fixed")
        return self


class Train(Fit):
    """How a network that forecasts is trained."""

    validation_windows: Positive = Field(description="windows of the validation split to look at, evenly chosen")
    even_archives: bool = Field(
        default=False, description="whether every archive is drawn from as often, however long; false: every window"
    )


class Evaluate(Section):
    """What the tables say."""

    thresholds: list[Annotated[float, Field(gt=0)]] = Field(min_length=1, description="rain rates, mm/h")
    time_stride: Positive = Field(description="frames from one test forecast to the next")
    steps_members: int = Field(ge=2, description="members of STEPS and LINDA; 12 for a result")
    seed: int = Field(ge=0, description="of their noise")
    members: int | None = Field(
        default=None, ge=2, description="drawn of every other probabilistic method, and all are scored; null: none are"
    )
    images: bool = Field(default=False, description="whether to score echo images too: MSE, SSIM and PSNR")
    device: Device = Field(default="auto", description="what networks forecast on; auto: the GPU where there is one")
