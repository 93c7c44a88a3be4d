"""Sections of the hourly forecast: areas, and what is done when not all is as it should be."""

from pydantic import Field

from pipelines.sections.base import Positive, Section


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
