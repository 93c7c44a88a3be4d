"""Random corruption of valid files of every format: the run ends, and nothing is at a wrong time or place."""

import csv
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from ingested import PARAMS, Result
from radar_files import (
    cf_dataset,
    write_bom,
    write_fmi_pgm,
    write_geotiff,
    write_knmi,
    write_mch_gif,
    write_meteonet,
    write_mrms,
    write_odim,
    write_radolan,
)

import pipelines.common.workers
from pipelines.common.workers import Decoders
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.store import open_frames

START = datetime(2021, 2, 28, 12, 0)
GOOD = 3
SMALL, SWISS, GERMAN, FRENCH = (12, 16), (640, 710), (900, 900), (1, 515, 784)
# Formats whose pixels have a checksum; of zlib's in others, HDF5's Fletcher among them, none is asked for.
CHECKED = {"fmi_gz", "radolan_gz", "meteonet"}


def write_classic(path: Path, raw: np.ndarray, time: datetime) -> None:
    dataset = cf_dataset(1).assign_coords(time=("time", [np.datetime64(time, "ns")], {"standard_name": "time"}))
    dataset["rr"] += float(raw[0, 0])
    dataset.to_netcdf(path, format="NETCDF3_64BIT")


WRITERS = {
    "odim": (write_odim, SMALL, "h5"),
    "fmi": (write_fmi_pgm, SMALL, "pgm"),
    "fmi_gz": (write_fmi_pgm, SMALL, "pgm.gz"),
    "knmi": (write_knmi, SMALL, "h5"),
    "cf": (write_bom, SMALL, "nc"),
    "classic": (write_classic, SMALL, "nc"),
    "mch": (write_mch_gif, SWISS, "gif"),
    "radolan": (lambda path, raw, time: write_radolan(path, raw.astype(np.uint16), time), GERMAN, "bin"),
    "radolan_gz": (lambda path, raw, time: write_radolan(path, raw.astype(np.uint16), time), GERMAN, "gz"),
    "mrms": (lambda path, raw, time: write_mrms(path, raw.astype(np.float32), time), SMALL, "grib2"),
    "geotiff": (
        lambda path, raw, time: write_geotiff(path, raw.astype(np.float32), time, units="mm/h"),
        SMALL,
        "tif",
    ),
    "meteonet": (lambda path, raw, time: write_meteonet(path, raw.astype(np.int16), [time]), FRENCH, "npz"),
}


def at(i: int) -> datetime:
    return START + timedelta(minutes=10 * i)


def name(kind: str, i: int) -> str:
    front = "rainfall_SE_" if kind == "meteonet" else ""
    return f"{front}{at(i):%Y%m%d%H%M%S}.{WRITERS[kind][2]}"


def corrupted(content: bytes, random: np.random.Generator) -> bytes:
    """Change, cut out, insert or cut off some bytes; half of the times near the start, where headers are."""
    start = int(random.integers(min(len(content), 3000) if random.random() < 0.5 else len(content)))
    length = int(random.integers(1, 40))
    match random.integers(6):
        case 0:
            return content[:start] + bytes([content[start] ^ (1 << int(random.integers(8)))]) + content[start + 1 :]
        case 1:
            return content[:start] + random.bytes(length) + content[start + length :]
        case 2:
            digits = [i for i, byte in enumerate(content[:5000]) if byte in b"0123456789"]
            i = int(random.choice(digits)) if digits else start
            return content[:i] + str(random.integers(10)).encode() + content[i + 1 :]
        case 3:
            return content[:start] + content[start + length :]
        case 4:
            return content[:start] + random.bytes(length) + content[start:]
        case _:
            return content[:start]


@pytest.mark.parametrize("count", [pytest.param(17, id="200"), pytest.param(170, id="2000", marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", WRITERS)
def test_no_corruption_stops_the_run_or_gives_a_wrong_time_or_grid(kind, count, tmp_path, monkeypatch, record_property):
    write, shape, _ = WRITERS[kind]
    random = np.random.default_rng([count, list(WRITERS).index(kind)])
    intact, folder = tmp_path / "intact", tmp_path / "in"
    intact.mkdir()
    numbers = range(GOOD + count)
    # A year of Swiss pictures would take long: files share their pixels, not their times.
    pixels = random.integers(1, 200, shape).astype(np.uint8)
    for i in numbers:
        write(intact / name(kind, i), pixels, at(i))
    expected = Result(tmp_path / "expected").run(intact)
    shutil.copytree(intact, folder)
    for i in numbers[GOOD:]:
        victim = folder / name(kind, i)
        victim.write_bytes(corrupted(victim.read_bytes(), random))

    workers = Decoders(2, limit_s=10.0, limits=PARAMS.limits)
    monkeypatch.setattr(pipelines.common.workers, "decoders", lambda limits, most: workers)
    result = Result(tmp_path / "result")
    bad = ingest_radar(folder, result.store, result.table, result.quality, PARAMS)

    dataset, original = open_frames(result.store), open_frames(expected.store)
    assert grid_of(original).difference(grid_of(dataset)) is None
    files = dataset["source_file"].to_numpy().tolist()
    times = dict(zip(files, result.times, strict=True))
    assert times == {name(kind, i): at(i) for i in numbers if name(kind, i) in times}
    assert {name(kind, i) for i in numbers[:GOOD]} <= set(files)
    with result.table.open(encoding="utf-8") as stream:
        quarantined = [row["file"] for row in csv.DictReader(stream)]
    assert len(quarantined) == bad
    assert {file.split("#")[0] for file in quarantined} | set(files) == {path.name for path in folder.iterdir()}
    altered = [
        file
        for file, time in times.items()
        if not np.array_equal(
            dataset["rainfall_flux"].sel(time=time), original["rainfall_flux"].sel(time=time), equal_nan=True
        )
    ]
    assert not {name(kind, i) for i in numbers[:GOOD]} & set(altered)
    if kind in CHECKED:
        assert altered == []
    record_property("silently altered", f"{len(altered)} of {count}")
    print(f"{kind}: of {count} corrupted files {len(files) - GOOD} went in, {len(altered)} with altered pixels")
