"""What all sections of params.yaml have in common."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]  # it becomes a folder's
# A process with the libraries that decode takes 700 MB of address space before it has a file.
Memory = Annotated[int, Field(ge=1024, description="memory that a process that decodes files may take, MB")]

# What a network computes on; auto: the GPU where there is one.
Device = Literal["auto", "cpu", "cuda"]


class Section(BaseModel):
    """A section of params.yaml: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DrawnSplits(Section):
    """What is drawn for validation and test where nothing else says it: of groups, each of which stays whole."""

    validation_share: float = Field(gt=0, lt=1, description="share of the groups for validation, where it is drawn")
    test_share: float = Field(gt=0, lt=1, description="share of the groups for test, where it is drawn")
    seed: int = Field(ge=0, description="seed of the draw of groups into splits")

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> Self:
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave no group for training: their sum must be below 1")
        return self


REASONS = {"extra_forbidden": "unknown key", "missing": "missing", "model_type": "should be a section of keys"}


def reason_of(error: ValidationError) -> str:
    """Return the first mistake in one line: the key, and what is wrong with it."""
    # A misspelt key is an unknown one and a missing one: the first says more.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join(map(str, first["loc"])) or "the file"
    reason = " ".join(REASONS.get(first["type"], first["msg"].removeprefix("Value error, ")).split())
    told = first["type"] in ("extra_forbidden", "missing", "value_error")
    return f"{key}: {reason}" + ("" if told else f" (given: {' '.join(str(first['input']).split())[:60]})")
