"""What the sections of all networks have in common, and of how one is trained."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.params.base import Positive, Section, Share


class Adaptive(Section):
    """ASTSGD: how the switch's p follows the training; see scs_model.stsgd.adaptive."""

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
        """Return the switch's name in papers."""
        if self.kind == "off":
            return "off"
        return f"{'ASTSGD' if self.adaptive else 'STSGD'} {self.kind} p={self.p:g}"


class Subtasks(Section):
    """Weights of the subtasks' losses beside the main one."""

    t1: float = Field(ge=0, description="of T¹, the task's spatial half: the newest frame reconstructed, or the class")
    t2: float = Field(ge=0, description="of T², motion: the echo's, or optical flow")


class Switched(Section):
    """What every network has that SCS may be in: which gradients are stopped, what the subtasks weigh, its training."""

    cell: str
    switch: Switch
    subtasks: Subtasks | None = Field(default=None, description="without it they cost nothing")
    steps: Positive | None = Field(
        default=None, description="optimiser steps in place of the section's: for cells that are to take the same time"
    )
    seed: int | None = Field(default=None, ge=0, description="in place of the section's: for one model from two seeds")

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


class Fit(Section):
    """How a network is trained, whatever its task; the same for every model of it."""

    seed: int = Field(ge=0)
    steps: Positive = Field(description="optimiser steps")
    checkpoint_steps: Positive = Field(description="steps from one checkpoint and validation to the next")
    batch_size: Positive
    devices: Positive = Field(default=1, description="GPUs of a machine, or processes of its CPU, that share a batch")
    learning_rate: float = Field(gt=0)
    patience: Positive | None = Field(
        default=None, description="validations in a row without a lower loss that end a training early; null: none do"
    )
    precision: Literal["auto", "bf16", "float32"] = Field(description="auto: bf16 where the processor has it")

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch, at whose end are a checkpoint and a validation: there is one in the shortest training."""
        return min(self.checkpoint_steps, self.steps)

    def of(self, model: Switched) -> Self:
        """Return how this model is trained: with its own steps and seed, where it has them."""
        return self.model_copy(update=model.model_dump(include={"steps", "seed"}, exclude_none=True))
