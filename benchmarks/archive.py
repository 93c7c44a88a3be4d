"""Archives that grow: what a frame more costs, what nothing new costs, and what index and a cluster take.

    python benchmarks/archive.py [--frames 100000] [--side 256]

An archive of many frames is made without its files' content: a byte stands for each, with the record and the shards
that ingestion would have kept of it. What is measured is real from there on: a file more is decoded, its shard made,
the store assembled. Each run is a process of its own that has started its decoders before its clock starts; the most
memory that it took is told, and beside it the seconds of ``dvc commit``: what ``dvc repro`` hashes, and its start.
Two Dask workers of one thread against one ingest the same new files; moto's S3 server on this machine has them as well.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3
import numpy as np
import pyproj
import yaml
from claims import claim, say_where, status
from forecast import moving_rain

from pipelines.common.executor import LOCAL
from pipelines.common.files import link
from pipelines.fetch.archive import fetch
from pipelines.params.fetch import Fetch
from pipelines.params.read import read_params
from pipelines.radar.frame import packed
from pipelines.radar.grid import Grid
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.ingest_cache import FrameCache, FrameRecord
from pipelines.radar.odim_writer import write_composite
from pipelines.radar.quality import describe
from pipelines.radar.readers.header import Header
from pipelines.radar.shards import Shards
from pipelines.radar.store import shard_frames

ROOT = Path(__file__).parents[1]
START, STEP = datetime(2014, 1, 1), timedelta(minutes=5)
CRS = pyproj.CRS("+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +R=6371288 +units=m")
MEMORY_MB = 1500  # whatever the length
NEW = 192  # files that a cluster ingests
WARM = 'ingest("first", "first.zarr")'  # imports what is imported late, and starts the decoders
MEASURED = f"""import os, re, sys, time
from pathlib import Path
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.inspection import inspect_store
from pipelines.nowcast.index import index
from pipelines.common.executor import LOCAL, open_executor
from pipelines.params.read import read_params
params = read_params(Path({str(ROOT / "params.yaml")!r}))
radar = params.ingest_radar
def ingest(source, store, executor=LOCAL):
    store = Path(store)
    tables = store.with_suffix(".quarantine.csv"), store.with_suffix(".quality.csv")
    ingest_radar(Path(source), store, *tables, radar, executor=executor)
{{before}}
began = time.perf_counter()
{{work}}
took = time.perf_counter() - began
# Of this program alone: what getrusage has is of the process, and begins with what its parent took.
print("took", took, int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
{{after}}
"""


def measured(work: str, before: str = "", after: str = "", *, cwd: Path) -> tuple[float, float]:
    """Return the seconds of some code in a process of its own, and the most memory that it took, MB."""
    code = MEASURED.format(before=before, work=work, after=after)
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, check=True, stdout=subprocess.PIPE, text=True)
    took, memory = done.stdout.split("took ")[1].split()
    return float(took), float(memory)


def grid_of(side: int) -> Grid:
    return Grid.from_edges(CRS, left=0.0, top=-3e6, dx=1000.0, dy=1000.0, shape=(side, side))


def name_of(number: int) -> str:
    return f"{START + number * STEP:%Y%m%d%H%M}.h5"


def write_file(folder: Path, rain: np.ndarray, number: int) -> None:
    with np.errstate(divide="ignore"):
        dbz = 10 * np.log10(200 * rain[number % len(rain)] ** 1.6)
    at = np.datetime64(START + number * STEP, "s")
    write_composite(folder / name_of(number), dbz, at, grid_of(dbz.shape[0]), scan_s=300, how={})


def make_archive(folder: Path, count: int, rain: np.ndarray) -> None:
    """Make ``in``, a folder of ``count`` files, and what ingestion has of them for ``radar.zarr``; ``first`` has one.

    The shards are full, whatever the count: a file more is the first of its shard, so that runs can be compared.
    """
    source, store = folder / "in", folder / "radar.zarr"
    for one in (source, folder / "first"):
        one.mkdir(parents=True)
        write_file(one, rain, 0)
    tables = store.with_suffix(".quarantine.csv"), store.with_suffix(".quality.csv")
    ingest_radar(source, store, *tables, read_params(ROOT / "params.yaml").ingest_radar, executor=LOCAL)
    work = folder / ".radar.zarr.ingest"
    shards = Shards(work / "shards")
    size = shard_frames(rain.shape[1:])
    frames = [packed(rain[number % len(rain)]) for number in range(size)]
    cache = FrameCache(work, (work / "made_by").read_text())
    quality = describe(rain[0], float(rain[0].max()), 0)
    header = cache.same_grid(Header(np.datetime64(START, "s"), "instant", 0, "dBZ", grid_of(rain.shape[1])))
    made: Path | None = None
    for first in range(0, count - count % size, size):
        keys = []
        for number in range(first, first + size):
            path = source / name_of(number)
            path.write_bytes(b"-")
            cache.get(path)
            at = Header(np.datetime64(START + number * STEP, "s"), "instant", 0, "dBZ", header.grid)
            cache.put(path, [FrameRecord(at, f"{number:064x}", f"{number:064x}", quality)])
            keys.append((f"{number:064x}", 0))
        if made is None:
            shards.make(frames, keys)
            made = shards.path(keys)
        else:
            link(made, shards.path(keys))
    cache.close()


def measure_growth(folder: Path, count: int, rain: np.ndarray) -> dict[int, float]:
    """Return the seconds of a run with no file more, and with one, each after others."""
    make_archive(folder, count, rain)
    took, _ = measured('ingest("in", "radar.zarr")', WARM, cwd=folder)
    print(f"{count} frames, all decoded, the store made: {took:.2f} s", flush=True)
    stage = {"cmd": "true", "deps": ["in"], "outs": ["radar.zarr"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"ingest_radar": stage}}), encoding="utf-8")
    dvc(folder, "init", "--no-scm")
    dvc(folder, "config", "cache.type", "hardlink,copy")  # as docs/scaling.md advises
    runs = {}
    for new in (0, 1):
        if new:
            write_file(folder / "in", rain, count - count % shard_frames(rain.shape[1:]))
        runs[new], memory = measured('ingest("in", "radar.zarr")', WARM, cwd=folder)
        hashing = dvc(folder, "commit", "--force")
        hashed = f"DVC hashes and links for {hashing:.2f} s{'' if new else ', all of it'}"
        print(f"{count} frames, {new} new: {runs[new]:.2f} s; {hashed}", flush=True)
        claim(f"{count} frames, {new} new, MB", memory, "<=", MEMORY_MB)
    return runs


def dvc(folder: Path, *words: str) -> float:
    """Run a command of DVC; return the seconds that it took."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dvc", *words, "--quiet"], cwd=folder, check=True)
    return time.perf_counter() - began


def measure_cluster(folder: Path, rain: np.ndarray) -> dict[int, float]:
    """Return the seconds that clusters of one and two workers take for the same new files, without their start."""
    (folder / "new").mkdir(parents=True)
    (folder / "first").mkdir()
    for number in range(NEW):
        write_file(folder / "new", rain, number)
        if number < 2 * shard_frames(rain.shape[1:]):
            write_file(folder / "first", rain, number)
    took = {}
    for count in (1, 2):
        start = (
            f"stack = open_executor('dask', None, {count}, 1); cluster = stack.__enter__(); "
            f"ingest('first', 'first{count}.zarr', cluster)"
        )
        # Closed here: at the interpreter's end it waits for two minutes.
        end = "stack.__exit__(None, None, None)"
        took[count], _ = measured(f"ingest('new', '{count}.zarr', cluster)", start, end, cwd=folder)
        print(f"{NEW} new files, {count} Dask workers of one thread: {took[count]:.2f} s", flush=True)
    return took


def measure_s3(folder: Path) -> None:
    """Print what it takes to fetch the files of ``new`` from S3, and to find that nothing is new there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= keys | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    files = sorted((folder / "new").iterdir())
    size = sum(file.stat().st_size for file in files) / 1e6
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while server.poll() is None and socket.socket().connect_ex(("127.0.0.1", int(port))):
                time.sleep(0.1)
            bucket = boto3.resource("s3").create_bucket(Bucket="radar")
            for file in files:
                bucket.upload_file(str(file), file.name)
            settings = Fetch(
                url="s3://radar/%Y%m%d%H%M.h5", step_s=round(STEP.total_seconds()), rate=1000.0, parallel=16
            )
            times = START.replace(tzinfo=UTC), (START + len(files) * STEP).replace(tzinfo=UTC)
            for what in ("all new", "nothing new"):
                began = time.perf_counter()
                fetched = fetch("x", settings, folder / "fetched", *times)
                took = time.perf_counter() - began
                assert fetched.files + fetched.here == len(files), fetched
                print(f"{len(files)} files of {size:.0f} MB from S3, {what}: {took:.2f} s", flush=True)
        finally:
            server.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--files", type=int, default=10_000, help="of a run with nothing new, and the index")
    parser.add_argument("--side", type=int, default=256)
    asked = parser.parse_args()
    say_where()
    rain = moving_rain()[:, : asked.side, : asked.side]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        few = measure_growth(folder / "few", asked.few, rain)
        of_files = measure_growth(folder / "files", asked.files, rain)
        claim(f"{asked.files} files, nothing new, s", of_files[0], "<=", 5)
        stride = max(1, (asked.side - params_size()) // 7)
        settings = f"params.index.model_copy(update=dict(stride={stride}, splits={{}}, max_event_hours=24.0))"
        work = f'index({{"radar": Path("radar.zarr")}}, Path("windows.parquet"), {settings})'
        took, _ = measured(work, cwd=folder / "files")
        claim(f"index of {asked.files} frames, s", took, "<=", 60)
        two = measure_cluster(folder / "cluster", rain)
        claim("two Dask workers / one", two[1] / two[2], ">=", 1.5)
        measure_s3(folder / "cluster")
        many = measure_growth(folder / "many", asked.frames, rain)
        claim(f"a frame more at {asked.frames} / at {asked.few}", many[1] / few[1], "<=", 1.5)
        for name, code in {"index": work, "inspect": 'inspect_store(Path("radar.zarr"), Path("page.html"))'}.items():
            took, memory = measured(code, cwd=folder / "many")
            print(f"{asked.frames} frames, {name}: {took:.1f} s", flush=True)
            claim(f"{name} of {asked.frames} frames, MB", memory, "<=", MEMORY_MB)
    return status()


def params_size() -> int:
    return read_params(ROOT / "params.yaml").index.size


if __name__ == "__main__":
    sys.exit(main())
