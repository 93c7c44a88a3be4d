"""Sections of the images with outlines: simulated, ingested."""

from pydantic import Field

from pipelines.common.limits import Limits
from pipelines.params.base import DrawnSplits, Memory, Positive, Section


class SimulateImages(Section):
    """The embedded scenes: how many of what to simulate."""

    seed: int = Field(ge=0, description="seed of every random draw")
    cities: int = Field(ge=3, le=99, description="grounds; the last quarter of them is the list val")
    scenes: Positive = Field(description="images of each city")
    objects: Positive = Field(description="objects of an image")
    height: int = Field(ge=64, le=2048, description="rows of an image; it has twice as many columns")


class IngestImages(DrawnSplits):
    """Where the annotated images are, and how they become crops."""

    source: str = Field(min_length=1, description="folder of images and annotations, searched with its subfolders")
    min_side: int = Field(ge=2, description="an object whose longer side has fewer pixels goes into quarantine")
    max_memory_mb: Memory = Limits.memory_mb
    license: str = Field(min_length=1, description="SPDX identifier of the images' licence")
