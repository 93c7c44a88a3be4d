"""Sections of the hourly forecast: areas, and what is done when not all is as it should be."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pipelines.params.base import Device, Positive, Section, Share
from pipelines.params.nowcast import Fallback, Rates
from pipelines.params.radar import FileHints


def _path_of(kind: str) -> BeforeValidator:
    def path(given: Any) -> Path:
        if not isinstance(given, str | Path) or not str(given):
            raise ValueError(f"should be the path of a {kind}")
        return Path(given)

    return BeforeValidator(path)


Folder = Annotated[Path, _path_of("folder")]
File = Annotated[Path, _path_of("file")]


class Policy(Section):
    """What a domain's forecast does when not all is as it should be; written into every forecast."""

    max_age_minutes: Positive | None = Field(
        description="no forecast from a newest frame that is older; null for a replay of the past"
    )
    min_valid_share: Share = Field(
        description="a frame that knows less of the grid counts as missing; no forecast if it is the newest"
    )
    max_missing: int = Field(ge=0, description="inputs before the newest that may be missing, each with a stand-in")
    stand_in: Literal["advected", "repeated"] = Field(
        description="for a missing input: the frame before it, moved with the echo or as it is"
    )
    fallback: list[Fallback] = Field(
        max_length=2, description="used in turn when the model can't be; empty for no forecast then"
    )


LeftOut = Literal["zarr", "geotiffs", "maps"]


class Members(Section):
    """Members of a forecast with probabilities: what amounts, and the rain of areas, are told from."""

    count: int = Field(ge=2, le=1000)
    seed: int = Field(default=1, ge=0, description="of their draws, with the time of the newest frame")
    keep: bool = Field(default=False, description="whether they are published themselves, too")
    amounts: Rates = Field(default=[1.0, 5.0, 10.0, 20.0], description="whose probabilities are told, mm, ascending")
    max_seconds: Positive = Field(default=300, description="those that are done by then are all")


class Domain(FileHints):
    """A radar's area: where its frames come in, what their files don't say, and what goes out when."""

    name: str = Field(exclude=True, description="its key in the section domains")
    inbox: Folder = Field(description="folder that the radar's files come into")
    store: Folder = Field(description="the live store's folder")
    license: str = Field(min_length=1, description="SPDX identifier of the files' licence")
    attribution: str | None = Field(default=None, min_length=1, description="what the licence wants said")
    model: str = Field(min_length=1, description="MLflow URI of a registered model, or a folder")
    device: Device = Field(default="auto", description="what it forecasts on; auto: the GPU where there is one")
    cron: str = Field(min_length=1, description="when to forecast, UTC: minute, hour, day, month, weekday")
    minutes: Positive = Field(description="longest lead time, minutes")
    policy: Policy
    members: Members | None = Field(default=None, description="of a model with probabilities; null for none")
    areas: File | None = Field(
        default=None, description="GeoJSON of catchments or districts whose mean rain is told; null for none"
    )
    memory_limit_mb: Positive | None = Field(
        description="a method that needs more on the grid isn't used, MB; null for no limit"
    )
    leave_out: list[LeftOut] = Field(
        default=[], description="products that nobody wants: forecast.zarr, cog/, or maps/ with forecast.gif"
    )
    out: Folder = Field(description="folder of the forecasts; each cycle gets one of its own in it")
    skill_days: Positive = Field(description="days of rolling skill, for curves and alarm")
    silent_minutes: Positive | None = Field(
        description="alarm when the newest forecast is older; null for a replay of the past"
    )
    archive: Folder | None = Field(
        description="folder of finished days; null: the live store keeps all, and ingestion gets nothing"
    )
    keep_days: Positive = Field(description="days up to the newest frame that stay in the live store")
    keep_done_days: Positive | None = Field(default=None, description="days that raw files stay; null: for ever")
    keep_forecast_days: Positive | None = Field(default=None, description="days that verified forecasts stay; likewise")
    keep_ledger_days: Positive | None = Field(default=None, description="days that the ledger stays; likewise")

    @property
    def removes(self) -> bool:
        """Whether anything is removed by its age."""
        return any((self.keep_done_days, self.keep_forecast_days, self.keep_ledger_days))

    @model_validator(mode="after")
    def _ledger_is_kept_for_curves(self) -> Self:
        if self.keep_ledger_days is not None and self.keep_ledger_days < 2 * self.skill_days:
            raise ValueError("keep_ledger_days should be twice skill_days, at least: rolling skill needs them")
        return self
