"""Ingestion of radar files against the plain way: pysteps frame by frame, and a day in one file by xarray.

    python benchmarks/ingest.py [--fmi FOLDER] [--knmi FOLDER] [--frames 1000] [--rounds 1]

Real files of FMI (PGM in gzip) and KNMI (HDF5, amounts) are copied until there are ``--frames``, each with a time of
its own in its name and content, and a few pixels of its own; with neither, ODIM_H5 composites are simulated. The plain
way: pysteps' importer, its conversion to mm/h, and a Dataset's `to_zarr(append_dim="time")` for each frame, all
imported. Ours is the stage on a new store, as a process with its start; that is also measured by itself.

A day in one CF netCDF file, and in one Zarr store, a frame a chunk: xarray's `open_dataset` and `to_zarr` against the
stage, both as processes. The time per frame of 72 and of many frames is that of the stage's function.

Times are the best of rounds in which every side runs once: others' load only adds. On a busy machine one process gets
more of what it needs than three do; the processors' time, printed beside, tells what both need.
"""

import argparse
import contextlib
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pyproj
import xarray as xr
import yaml
from claims import claim, say_where, status
from forecast import moving_rain, seconds
from pysteps.io.importers import import_fmi_pgm, import_knmi_hdf5, import_odim_hdf5
from pysteps.utils.conversion import to_rainrate

from pipelines.params.read import read_params
from pipelines.radar.grid import Grid
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.odim_writer import write_composite
from pipelines.radar.store import open_frames

ROOT = Path(__file__).parents[1]
START, STEP = datetime(2024, 1, 1), timedelta(minutes=5)
CRS = pyproj.CRS("+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +R=6371288 +units=m")
SHORT, STARTS = 72, 3
CROP = 512  # rows and columns of the day
STORE = "radar.zarr"
BY_XARRAY = f"""import sys, warnings, xarray
warnings.simplefilter("ignore")
xarray.open_dataset(sys.argv[1]).drop_encoding().to_zarr("{STORE}")"""

Importer = Callable[..., tuple[Any, Any, dict[str, Any]]]


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def copy_fmi(files: list[Path], number: int, at: datetime, folder: Path) -> None:
    source = files[number % len(files)]
    content = gzip.decompress(source.read_bytes())
    content = re.sub(rb"(# obstime )\d{12}", rb"\g<1>" + f"{at:%Y%m%d%H%M}".encode(), content, count=1)
    (folder / re.sub(r"\d{12}", f"{at:%Y%m%d%H%M}", source.name)).write_bytes(
        gzip.compress(content[:-2] + bytes(100 + digits for digits in divmod(number, 100)), mtime=0)
    )


def copy_knmi(files: list[Path], number: int, at: datetime, folder: Path) -> None:
    source = files[number % len(files)]
    copy = folder / re.sub(r"\d{12}", f"{at:%Y%m%d%H%M}", source.name)
    copy.write_bytes(source.read_bytes())
    with h5py.File(copy, "r+") as file:
        for name, moment in (("start", at - STEP), ("end", at)):
            words = moment.strftime("%d-%b-%Y;%H:%M:%S.000").upper()
            file["overview"].attrs[f"product_datetime_{name}"] = np.array([words], "S25")
        pixels = file["image1/image_data"]
        pixels[0] = np.r_[np.uint16(number), pixels[0, 1:]]


def simulate_odim(frames: np.ndarray, number: int, at: datetime, folder: Path) -> None:
    with np.errstate(divide="ignore"):
        dbz = 10 * np.log10(200 * frames[number % len(frames)] ** 1.6)
    dbz[0, :2] = divmod(number, 100)
    grid = Grid.from_edges(CRS, left=0.0, top=-3e6, dx=1000.0, dy=1000.0, shape=dbz.shape)
    write_composite(folder / f"{at:%Y%m%d%H%M}.h5", dbz, np.datetime64(at, "s"), grid, scan_s=300, how={})


def plain(files: list[Path], importer: Importer, out: Path) -> None:
    for number, path in enumerate(files):
        values, _, about = importer(str(path))
        rain, _ = to_rainrate(values, about, zr_a=200.0, zr_b=1.6)
        at = np.datetime64(START + number * STEP, "ns")
        dataset = xr.Dataset({"rain": (("time", "y", "x"), rain[None].astype(np.float32))}, {"time": [at]})
        dataset.to_zarr(out / STORE, append_dim="time" if number else None, consolidated=False)


def run(*arguments: str, cwd: Path) -> None:
    """Run Python in a process of its own."""
    subprocess.run([sys.executable, *arguments], cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def stage(files: Path, out: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["ingest_radar"]["sources"] = {"radar": str(files)}
    (out / "params.yaml").write_text(yaml.safe_dump(params))
    run("-m", "pipelines.radar.ingest", "radar", STORE, "quarantine.csv", "quality.csv", cwd=out)


def stage_function(files: Path, out: Path) -> None:
    params = read_params(ROOT / "params.yaml").ingest_radar
    with contextlib.redirect_stdout(io.StringIO()):
        ingest_radar(files, out / STORE, out / "quarantine.csv", out / "quality.csv", params)


def best(sides: dict[str, Callable[[Path], None]], folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Return seconds of each side, and of processors where it is a process, of the fastest of some rounds.

    In a round each side writes into a new folder of its name.
    """
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir(parents=True)
            before = sum(os.times()[:4])
            wall = seconds(partial(side, folder / name))
            took[name].append((wall, sum(os.times()[:4]) - before))
    return {name: min(times) for name, times in took.items()}


def measure_files(name: str, files: Path, importer: Importer, folder: Path, rounds: int) -> None:
    paths = sorted(files.iterdir())
    took = best({"plain": partial(plain, paths, importer), "stage": partial(stage, files)}, folder, rounds)
    theirs = xr.open_zarr(folder / "plain" / STORE)["rain"]
    ours = open_frames(folder / "stage" / STORE)["rainfall_flux"]
    assert theirs.shape == ours.shape
    print(f"{name}, {len(paths)} files of {ours.shape[1]}×{ours.shape[2]}, ms a frame, and of processors:")
    for side, rain in (("plain", theirs), ("stage", ours)):
        wall, processors = (1e3 * s / len(paths) for s in took[side])
        print(f"  {side} {wall:.1f}, {processors:.1f}; mean of the first {float(rain[0].mean()):.4f} mm/h")
    claim(f"{name} files, plain / stage", took["plain"][0] / took["stage"][0], ">=", 3)
    idle = min(seconds(partial(stage, files, folder / "stage")) for _ in range(STARTS))
    claim(f"{name} files, start of the stage with nothing to do, s", idle, "<=", 1.5)
    (folder / "first").mkdir()
    shutil.copy(paths[0], folder / "first")
    one, _ = best({"one": partial(stage, folder / "first")}, folder, STARTS)["one"]
    print(f"  beside it, with one file and a new store: {one:.2f} s")


def write_days(store: Path, sizes: set[int], folder: Path) -> None:
    """Write the frames of a store again and again as netCDF and as Zarr, of each size in a folder of its own."""
    others = ["lat", "lon", "time_bounds", "source_file", "source_sha256"]
    frames = open_frames(store).drop_vars(others, errors="ignore").isel(y=slice(CROP), x=slice(CROP)).load()
    packing = {"dtype": "uint16", "scale_factor": 0.01, "_FillValue": 65535}
    for size in sizes:
        times = np.datetime64(START, "ns") + np.arange(size) * np.timedelta64(STEP)
        day = frames.isel(time=np.arange(size) % frames.sizes["time"]).drop_encoding()
        day = day.assign_coords(time=("time", times, {"standard_name": "time"}))
        chunk = (1, *day["rainfall_flux"].shape[1:])
        for ending in ("nc", "zarr"):
            (folder / f"{size}.{ending}").mkdir()
        netcdf = packing | {"chunksizes": chunk, "zlib": True, "complevel": 1}
        day.to_netcdf(folder / f"{size}.nc" / "day.nc", encoding={"rainfall_flux": netcdf})
        day.to_zarr(folder / f"{size}.zarr" / "day.zarr", encoding={"rainfall_flux": packing | {"chunks": chunk}})


def measure_days(store: Path, day: int, long: int, folder: Path, rounds: int) -> None:
    write_days(store, {day, SHORT, long}, folder)
    for ending in ("nc", "zarr"):
        files = {size: folder / f"{size}.{ending}" for size in (day, SHORT, long)}
        took = best(
            {
                "xarray": lambda out, path=files[day] / f"day.{ending}": run("-c", BY_XARRAY, str(path), cwd=out),
                "stage": partial(stage, files[day]),
                "first": partial(stage_function, files[SHORT]),  # starts the workers
                "short": partial(stage_function, files[SHORT]),
                "long": partial(stage_function, files[long]),
            },
            folder / ending,
            rounds,
        )
        for name, size in (("xarray", day), ("stage", day), ("short", SHORT), ("long", long)):
            assert xr.open_zarr(folder / ending / name / STORE).sizes["time"] == size
        xarray, ours, short_ms, long_ms = (took[name][0] for name in ("xarray", "stage", "short", "long"))
        short_ms, long_ms = 1e3 * short_ms / SHORT, 1e3 * long_ms / long
        print(
            f"{ending}, {day} frames of {CROP}×{CROP}: xarray {xarray:.2f} s, stage {ours:.2f} s; "
            f"ms a frame of {SHORT}: {short_ms:.1f}, of {long}: {long_ms:.1f}"
        )
        claim(f"a day in {ending}, stage / xarray", ours / xarray, "<=", 2)
        claim(f"a frame of {long} in {ending} / one of {SHORT}", long_ms / short_ms, "<=", 1.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fmi", type=Path, help="folder of files of FMI")
    parser.add_argument("--knmi", type=Path, help="folder of files of KNMI")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--day", type=int, default=288, help="frames of a day against xarray")
    parser.add_argument("--long", type=int, default=1152, help=f"frames of one file against {SHORT}")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    say_where()
    kinds: dict[str, tuple[Callable[[int, datetime, Path], None], Importer]] = {}
    if asked.fmi:
        kinds["FMI"] = partial(copy_fmi, files_below(asked.fmi)), partial(import_fmi_pgm, gzipped=True)
    if asked.knmi:
        kinds["KNMI"] = partial(copy_knmi, files_below(asked.knmi)), partial(import_knmi_hdf5, qty="ACRR")
    if not kinds:
        kinds["ODIM"] = partial(simulate_odim, moving_rain()), partial(import_odim_hdf5, qty="DBZH")
    with TemporaryDirectory() as temporary:
        for name, (write, importer) in kinds.items():
            folder = Path(temporary, name)
            (folder / "files").mkdir(parents=True)
            for number in range(asked.frames):
                write(number, START + number * STEP, folder / "files")
            measure_files(name, folder / "files", importer, folder, asked.rounds)
        measure_days(folder / "stage" / STORE, asked.day, asked.long, Path(temporary), asked.rounds)
    return status()


if __name__ == "__main__":
    sys.exit(main())
