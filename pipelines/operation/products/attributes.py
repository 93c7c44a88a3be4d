"""What a forecast's files say of it: how it was made and from what, as attributes of its dataset."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

NONE = "none"  # in a file, where there is nothing to say


def _or_none(given: Any) -> Any:
    return None if given == NONE else given


def _parsed(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    return [] if given == NONE else json.loads(given)


class InputFrame(BaseModel):
    """An observed frame that a forecast was made from: its time (UTC), its source file and that one's SHA-256."""

    time: str
    file: str
    sha256: str


class MissingFrame(BaseModel):
    """An input that was missing: its time (UTC), why, and what stands in for it."""

    time: str
    why: str
    stand_in: str


class ForecastAttributes(BaseModel):
    """Attributes of a forecast; ``ForecastAttributes.model_validate(dataset.attrs)`` reads them from its dataset.

    ``fallback`` says which method was used in the model's place, and why; None if it is the model's own.
    ``left_out`` are products that were asked for and couldn't be made, a line each. What was never registered has no
    version, what lies in no folder no hash, a forecast from a folder of files no snapshot. ``license`` is the frames'
    own; ``attribution`` names whom their licence, and those of what the model was trained on, want named. What has a
    default isn't in the oldest files.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    source: str
    method: str
    model_uri: str
    model_name: str
    model_version: Annotated[str | None, BeforeValidator(_or_none)]
    model_sha256: Annotated[str | None, BeforeValidator(_or_none)]
    code_commit: str
    live_store_snapshot: Annotated[str | None, BeforeValidator(_or_none)]
    input_frames: Annotated[list[InputFrame], BeforeValidator(_parsed)]
    missing_frames: Annotated[list[MissingFrame], BeforeValidator(_parsed)] = []
    policy: Annotated[dict[str, Any], BeforeValidator(_parsed)] = {}
    fallback: Annotated[str | None, BeforeValidator(_or_none)] = None
    left_out: Annotated[list[str], BeforeValidator(_parsed)] = []
    license: Annotated[str | None, BeforeValidator(_or_none)] = None
    attribution: Annotated[str | None, BeforeValidator(_or_none)] = None

    def to_attrs(self) -> dict[str, str]:
        """Return them as they are in files: text, JSON for what has parts, ``none`` where there is nothing to say."""
        return {
            name: value if isinstance(value, str) else json.dumps(value) if value else NONE
            for name, value in self.model_dump().items()
        }

    @property
    def warnings(self) -> list[str]:
        """What one has to know before one trusts the forecast, a line each."""
        gaps = [f"input of {one.time} UTC: {one.why}; in its place {one.stand_in}" for one in self.missing_frames]
        return [*([] if self.fallback is None else [f"fallback: {self.fallback}"]), *gaps, *self.left_out]

    @property
    def credit(self) -> str:
        """What made the forecast, and whom licences want named, for a picture."""
        return self.source if self.attribution is None else f"{self.source}. {self.attribution}"

    @property
    def short_warning(self) -> str:
        """The same on a picture, in one short line; empty if there is nothing."""
        words = [] if self.fallback is None else ["fallback: not by the domain's model"]
        if self.missing_frames:
            words.append(f"inputs missing: {len(self.missing_frames)}")
        return "; ".join(words)
