"""An archive of small radar files, and what ingestion makes of one."""

import csv
import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from radar_files import name_of, write_odim

from pipelines.params.radar import ZR, IngestRadar
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.store import open_frames

START = datetime(2021, 2, 28, 23, 50)
PARAMS = IngestRadar(
    sources={"a": "unused"}, z_r=ZR(a=200.0, b=1.6), license="CC0-1.0", max_rate=655.34, above_max_rate="clip"
)


def at(i: int) -> datetime:
    return START + timedelta(minutes=5 * i)


def pixels(i: int, shape: tuple[int, int] = (12, 16)) -> np.ndarray:
    return np.random.default_rng(i).integers(1, 200, shape).astype(np.uint8)


def archive(folder: Path, count: int = 4, write=write_odim) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [write(folder / name_of(at(i)), pixels(i), at(i)) for i in range(count)]


class Result:
    """A store of an archive and its tables."""

    def __init__(self, folder: Path) -> None:
        self.store, self.table = folder / "out" / "radar.zarr", folder / "out" / "quarantine.csv"
        self.quality = folder / "out" / "quality.csv"

    def run(self, source: Path) -> "Result":
        ingest_radar(source, self.store, self.table, self.quality, PARAMS)
        return self

    @property
    def reasons(self) -> dict[str, str]:
        with self.table.open(newline="", encoding="utf-8") as stream:
            return {row["file"]: row["reason"] for row in csv.DictReader(stream)}

    @property
    def times(self) -> list[datetime]:
        return open_frames(self.store)["time"].to_numpy().astype("datetime64[s]").tolist()

    @property
    def bytes(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self.store.rglob("*")):
            if path.is_file():
                digest.update(path.relative_to(self.store).as_posix().encode() + path.read_bytes())
        return digest.hexdigest()
