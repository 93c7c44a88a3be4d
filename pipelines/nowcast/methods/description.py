"""What a model that forecasts says of itself: its ``model.json``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.common.rights import Rights
from pipelines.params.base import ModelName, Positive, Section, Share
from pipelines.params.nowcast import Coordinates, Fallback, FieldKind, Rates
from pipelines.training.model_folder import MOST_LAYERS, Description

PIXEL_RATIO = 1.25  # a pixel larger or smaller by this factor is another one to a network
MOST_INPUTS = 1000  # each of them is looked for, and one that is missing told of


class Network(Section):
    """Arguments of `scs_model.EncoderForecaster`, which says what they may be."""

    cell: str
    widths: Annotated[list[int], Field(max_length=MOST_LAYERS)]
    kernel: int
    downsample: int
    leads: int | None = None
    residual: bool = False
    coordinates: Coordinates = "moving"

    @model_validator(mode="after")
    def _forecasts_in_moving_coordinates(self) -> "Network":
        if self.leads is None:
            raise ValueError("it forecasts where the rain is, not where it goes: made by older code, train again")
        return self


class TrainedOn(Section):
    """An archive that a model was trained on: its name, and the rights of its data."""

    name: str
    license: str
    attribution: str | None = None

    @property
    def rights(self) -> Rights:
        """Those of its data."""
        return Rights(self.license, self.attribution)


class ModelDescription(Description):
    """What one has to know of a model to forecast with it.

    Parameters
    ----------
    method : {"network", "persistence", "extrapolation"}
    inputs : int
        Newest frames that it looks at.
    name : str, optional
        Of a network.
    step_seconds : int, optional
        From frame to frame; None takes any.
    pixel_metres : float, optional
        Of the frames that it was trained on; None takes any.
    network : Network, optional
        How it is built, if it is one.
    rates : list of float, optional
        Rain rates whose probabilities of exceedance it gives, mm/h, ascending; None gives none.
    field : {"matched", "mean", "median", "optimal"}
        Rain field that stands for them, see `pipelines.nowcast.methods.fields`.
    climatology : list of float, optional
        Share of the training archives' pixels at or above each of them, which skill is measured against.
    archives : list of TrainedOn, optional
        What it was trained on; None of what nobody trained, and of models of before this was kept.
    """

    method: Literal["network", Fallback]
    inputs: Annotated[int, Field(ge=1, le=MOST_INPUTS)]
    name: ModelName | None = None
    step_seconds: Positive | None = None
    pixel_metres: float | None = None
    network: Network | None = None
    rates: Rates | None = None
    field: FieldKind = "matched"
    climatology: list[Share] | None = None
    archives: list[TrainedOn] | None = None

    @model_validator(mode="after")
    def _a_climatology_is_of_the_rates(self) -> "ModelDescription":
        if self.climatology is not None and len(self.climatology) != len(self.rates or ()):
            raise ValueError("key climatology: a share for each of the key rates")
        return self

    @model_validator(mode="after")
    def _a_network_says_how_it_is_built(self) -> "ModelDescription":
        if (self.method == "network") != (self.network is not None):
            raise ValueError("key network: of method network, and of no other")
        return self

    @property
    def rights(self) -> list[Rights]:
        """Those of the archives that it was trained on, as far as they are known."""
        return [archive.rights for archive in self.archives or ()]

    @property
    def title(self) -> str:
        """What makes the forecast: a network's name, or the method."""
        return self.name or self.method

    def misfit(self, step_s: int, pixel_m: float, name: str) -> str | None:
        """Return in words why frames of such a step and such pixels aren't for it; None if they are.

        ``name`` is what the model is called there.
        """
        if (wanted := self.step_seconds or step_s) != step_s:
            return f"frames are {step_s} s apart, and {name} forecasts in steps of {wanted} s"
        trained = self.pixel_metres or pixel_m
        if not 1 / PIXEL_RATIO < pixel_m / trained < PIXEL_RATIO:
            return f"pixels are of {pixel_m:.0f} m, and {name} was trained on {trained:.0f} m"
        return None
