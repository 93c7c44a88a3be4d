"""What says that a frame is of a forecast: coordinates and attributes by their names, in CF, GeoTIFF and ODIM_H5."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

import numpy as np

from pipelines.radar.readers.header import nowcast, parsed_time

LEAD = re.compile(
    r"(?:\w+_)?lead(?:_?time)?(?:_?(?:s|secs?|seconds|mins?|minutes|h|hours))?"
    r"|(?:forecast|fcst|prediction)_?(?:period|hour|minute|step|lead|lead_?time|horizon)s?|grib_forecast_seconds"
)
REFERENCE = re.compile(
    r"(?:\w+_)?(?:reference|analysis|base|issue|init|initiali[sz]ation|origin|model_run|forecast_run)_?(?:time|date)"
    r"|issued(?:_at)?|(?:time|date)_of_(?:issue|origin)"
)
TITLES = ("title", "product", "prodname", "long_name", "description", "tifftag_imagedescription")
FORECAST = re.compile(r"\b(?:now|fore)casts?\b", re.IGNORECASE)
HALF_SECOND = timedelta(seconds=0.5)


def role_by_name(name: str) -> Literal["lead", "reference"] | None:
    """Return what a coordinate or attribute of a forecast is by its name in small letters; None if it is another."""
    if LEAD.fullmatch(name):
        return "lead"
    return "reference" if REFERENCE.fullmatch(name) else None


def written_time(attributes: Mapping[Any, Any], name: object) -> np.datetime64:
    """Return the time in an attribute, UTC to the second; a ValueError that names it if there is none."""
    try:
        return np.datetime64(parsed_time(str(attributes[name])) + HALF_SECOND, "s")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def refusal_by_attributes(attributes: Mapping[str, Any], valid: np.datetime64) -> str | None:
    """Return why a frame of a time can't be taken, if attributes, of names in small letters, say it is a forecast.

    A title counts where nothing says when it was issued: step 0 of a nowcast is an observation.

    Raises
    ------
    ValueError
        If the time of issue isn't understood.
    """
    roles = {name: role for name in attributes if (role := role_by_name(name)) is not None}
    for name, role in roles.items():
        if role == "reference" and (issued := written_time(attributes, name)) < valid:
            return nowcast(issued, valid)
        if role == "lead" and re.search("[1-9]", str(attributes[name])):
            return f"a nowcast for {valid}: its {name} is {attributes[name]}"
    for name in () if roles else TITLES:
        if FORECAST.search(str(attributes.get(name, ""))):
            return f"a nowcast for {valid}: its {name} is {attributes[name]}"
    return None
