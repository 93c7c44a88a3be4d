"""A forecast as others read it: by the CF checker, xarray and pyproj; and written whole or not at all."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray as xr
from archive import moving_cells
from matplotlib.image import imread
from small_model import loaded

from pipelines.forecasters import persistence
from pipelines.frame import Frame
from pipelines.grid import Grid
from pipelines.product import NETCDF, PICTURE, forecast_dataset, publish, stamp

SHAPE = (40, 50)
MODEL = loaded("persistence")
FMI = "+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +R=6371288 +x_0=380886.31 +y_0=3395677.92 +units=m +no_defs"
SOUTH = "+proj=aea +lat_1=-18 +lat_2=-36 +lat_0=-27.7 +lon_0=153.2 +ellps=GRS80 +units=m"
KILOMETRE = {"left": -20000.0, "top": 30000.0, "dx": 1000.0, "dy": 1000.0, "shape": SHAPE}
GRIDS = {
    "equal area": moving_cells("2024-06-01T12:00", 1, shape=SHAPE)[0].grid,
    "polar stereographic": Grid.from_edges(pyproj.CRS.from_proj4(FMI), **KILOMETRE | {"top": 900_000.0}),
    "southern": Grid.from_edges(pyproj.CRS.from_proj4(SOUTH), **KILOMETRE),
    "lat/lon": Grid.from_edges(pyproj.CRS.from_epsg(4326), left=5.0, top=52.0, dx=0.02, dy=0.01, shape=SHAPE),
}


def frames(grid: Grid, **changes: object) -> list[Frame]:
    made = moving_cells("2024-06-01T23:40", 4, shape=SHAPE)
    return [replace(frame, grid=grid, **changes) for frame in made]


def forecast(observed: list[Frame], leads: int = 12) -> xr.Dataset:
    rain_rate = persistence(np.stack([frame.rain_rate for frame in observed]), leads)
    return forecast_dataset(rain_rate, observed, 300, MODEL, "none")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Forecasts on all grids, and one of accumulations."""
    folder = tmp_path_factory.mktemp("published")
    for name, grid in GRIDS.items():
        publish(forecast(frames(grid)), frames(grid)[-1], folder / name.replace("/", ""))
    for end in ("end", "start"):
        accumulated = frames(GRIDS["equal area"], time_is=end, interval_s=300)
        publish(forecast(accumulated), accumulated[-1], folder / end)
    return {folder.name: folder for folder in folder.iterdir()}


def opened(folder: Path) -> xr.Dataset:
    with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as dataset:
        return dataset.load()


def test_the_cf_checker_has_nothing_to_say(published: dict[str, Path]) -> None:
    command = [Path(sys.executable).with_name("compliance-checker"), "--test", "cf:1.11", "--criteria", "strict"]
    files = [folder / NETCDF for folder in published.values()]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("All tests passed!") == len(files)


@pytest.mark.parametrize("name", GRIDS)
def test_xarray_and_pyproj_find_rain_time_and_place(published: dict[str, Path], name: str) -> None:
    grid, observed = GRIDS[name], frames(GRIDS[name])
    dataset = opened(published[name.replace("/", "")])
    assert dataset["rainfall_flux"].dims == ("lead_time", "y", "x")
    assert dataset["rainfall_flux"].dtype == np.float32
    for of_lead in dataset["rainfall_flux"].to_numpy():
        np.testing.assert_array_equal(of_lead, observed[-1].rain_rate)  # NaN where the radar doesn't see
    assert dataset["lead_time"].to_numpy().tolist() == list(range(300, 3900, 300))
    # The newest frame is of 23:55, and the forecast goes on into the next day.
    assert dataset["forecast_reference_time"].item() == np.datetime64("2024-06-01T23:55", "ns").item()
    assert dataset["time"].to_numpy()[[0, 11]].astype("datetime64[m]").tolist() == [
        np.datetime64("2024-06-02T00:00").item(),
        np.datetime64("2024-06-02T00:55").item(),
    ]
    assert pyproj.CRS.from_wkt(dataset["crs"].attrs["crs_wkt"]) == grid.crs
    assert pyproj.CRS.from_cf(dataset["crs"].attrs).is_geographic == grid.crs.is_geographic
    assert dataset["rainfall_flux"].attrs["grid_mapping"] == "crs"
    np.testing.assert_array_equal(dataset["x"], grid.x)
    np.testing.assert_array_equal(dataset["y"], grid.y)
    if name == "lat/lon":
        assert (dataset["x"].attrs["standard_name"], dataset["y"].attrs["standard_name"]) == ("longitude", "latitude")
    else:
        lon, lat = pyproj.Proj(grid.crs)(grid.x[7], grid.y[3], inverse=True)
        assert dataset["lon"].to_numpy()[3, 7] == pytest.approx(lon, abs=1e-4)
        assert dataset["lat"].to_numpy()[3, 7] == pytest.approx(lat, abs=1e-4)


def test_it_says_what_it_was_made_of(published: dict[str, Path]) -> None:
    said = opened(published["equal area"]).attrs
    observed = frames(GRIDS["equal area"])
    assert json.loads(said["input_frames"]) == [
        {"time": f"2024-06-01T23:{minute}:00", "file": frame.source, "sha256": frame.sha256}
        for minute, frame in zip((40, 45, 50, 55), observed, strict=True)
    ]
    assert said["missing_frames"] == "none"
    assert (said["model_uri"], said["model_name"], said["model_version"]) == (MODEL.uri, "radar-nowcast", "7")
    assert (said["model_sha256"], said["method"]) == (MODEL.sha256, "persistence")
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?|unknown", said["code_commit"])
    assert said["live_store_snapshot"] == "none"
    assert said["Conventions"] == "CF-1.11"


@pytest.mark.parametrize(("name", "first"), [("end", [0, 300]), ("start", [300, 600])])
def test_accumulations_keep_their_bounds(published: dict[str, Path], name: str, first: list[int]) -> None:
    dataset = opened(published[name])
    assert dataset["lead_time"].attrs["bounds"] == "lead_time_bounds"
    bounds = dataset["lead_time_bounds"].to_numpy()
    assert bounds[0].tolist() == first
    assert (bounds[1:, 0] == bounds[:-1, 1]).all()
    assert dataset["rainfall_flux"].attrs["cell_methods"].startswith("lead_time: mean")
    assert dataset["time"].attrs["time_is"] == name
    assert opened(published["equal area"])["rainfall_flux"].attrs["cell_methods"].startswith("lead_time: point")


@pytest.mark.parametrize("leads", [1, 2, 12])
def test_the_picture_has_a_map_for_each_time_shown(tmp_path: Path, leads: int) -> None:
    observed = frames(GRIDS["equal area"])
    publish(forecast(observed, leads), observed[-1], tmp_path / "forecast")
    picture = imread(tmp_path / "forecast" / PICTURE)[..., :3]
    tall, wide = picture.shape[:2]
    maps = min(leads, 4) + 1
    assert wide == pytest.approx(maps * 320, rel=0.15)
    assert tall < 600
    blue = np.array([0x21, 0x71, 0xB5]) / 255  # 1 to 2 mm/h
    shown = (np.abs(picture - blue).max(axis=-1) < 0.01).any(axis=0)
    assert all(part.any() for part in np.array_split(shown, maps))


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    observed = frames(GRIDS["equal area"])
    broken = replace(observed[-1], rain_rate=np.zeros(3, np.float32))  # can't be drawn
    with pytest.raises(TypeError):
        publish(forecast(observed), broken, tmp_path / "new" / "forecast")
    assert list((tmp_path / "new").iterdir()) == []

    publish(forecast(observed), observed[-1], tmp_path / "forecast")
    before = {path.name: path.read_bytes() for path in (tmp_path / "forecast").iterdir()}
    assert set(before) == {NETCDF, PICTURE}
    with pytest.raises(TypeError):
        publish(forecast(observed, 6), broken, tmp_path / "forecast")
    assert {path.name: path.read_bytes() for path in (tmp_path / "forecast").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forecast", "new"]

    publish(forecast(observed, 6), observed[-1], tmp_path / "forecast")
    assert opened(tmp_path / "forecast").sizes["lead_time"] == 6


def test_stamp() -> None:
    assert stamp(np.datetime64("2016-09-28T16:45")) == "20160928T164500Z"
    assert stamp(np.datetime64("2024-02-29T23:59:07.5", "ns")) == "20240229T235907Z"
