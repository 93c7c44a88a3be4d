"""Sections of the radar archive: simulated, ingested."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.common.limits import Limits
from pipelines.params.base import Memory, Positive, Section, Share

# An archive's name becomes a store's.
ArchiveName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


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


class FileHints(Section):
    """What the user says of radar files where they are silent; where they aren't, both must say the same."""

    variable: str | None = Field(
        default=None, min_length=1, description="variable, band or quantity to read, by its name in the file"
    )
    unit: str | None = Field(default=None, min_length=1, description="unit of the pixels, as UDUNITS spells it")
    interval_s: Positive | None = Field(default=None, description="seconds over which rain was accumulated")
    time_is: Literal["instant", "start", "end"] | None = Field(
        default=None, description="what a frame's time is of that which was measured"
    )
    time_pattern: str | None = Field(
        default=None, description="UTC in the file's name, in strptime's words: %Y-%m-%d_%H.%M"
    )
    crs: str | None = Field(default=None, min_length=1, description="projection in PROJ's words, such as EPSG:3035")
    nodata: float | list[float] | None = Field(
        default=None, description="number, or several, in the file that stands for no data"
    )
    z_r: ZR | None = Field(default=None, description="null for ingest_radar.z_r")
    regrid: Regrid | None = Field(default=None, description="null for ingest_radar.regrid")
    min_quality: Share | None = Field(default=None, description="null for ingest_radar.min_quality")


SILENT = FileHints()


class Archive(FileHints):
    """What the user says of an archive's files."""

    licence: str | None = Field(
        default=None, min_length=1, description="SPDX expression; null for ingest_radar.license"
    )
    attribution: str | None = Field(
        default=None, min_length=1, description="what the licence wants said; null for ingest_radar.attribution"
    )


class IngestRadar(Section):
    """Where the radar files are and how reflectivity becomes rain."""

    sources: dict[ArchiveName, Annotated[str, Field(min_length=1)]] = Field(
        min_length=1, description="archives: for each name a folder of radar files, searched with its subfolders"
    )
    archives: dict[ArchiveName, Archive] = Field(
        default={}, description="for an archive's name, or a store's: what its files don't say"
    )
    z_r: ZR
    max_rate: float = Field(gt=0, le=655.34, description="a higher rain rate is clutter or hail, mm/h")
    above_max_rate: Literal["clip", "mask"] = Field(description="make it max_rate, or unknown")
    min_quality: Share | None = Field(
        default=None, description="a pixel whose quality index is lower is unknown; null: whatever their quality"
    )
    regrid: Regrid | None = Field(default=None, description="another grid; null for the files' own")
    max_file_mb: Positive = Field(
        default=Limits.file_mb, description="largest file, or member of an archive file, that is read, MB"
    )
    max_unpacked_mb: Positive = Field(
        default=Limits.unpacked_mb, description="most that a file, or a part of it that is read at once, unpacks to, MB"
    )
    max_memory_mb: Memory = Limits.memory_mb
    license: str = Field(min_length=1, description="SPDX expression: the files' licences")
    attribution: str | None = Field(default=None, min_length=1, description="what the licence wants said")

    @property
    def limits(self) -> Limits:
        """What files may take of the workers that decode them."""
        return Limits(self.max_memory_mb, self.max_file_mb, self.max_unpacked_mb)
