"""A forecast as others read it: by the CF checker, xarray and pyproj; and written whole or not at all."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pyproj
import pytest
import xarray as xr
from archive import moving_cells
from domains import SIMULATED
from small_model import Mixture, loaded, probabilistic

from pipelines.nowcast.methods.extrapolation import extrapolation, persistence
from pipelines.operation.inputs import Inputs
from pipelines.operation.products.dataset import forecast_dataset
from pipelines.operation.products.names import NETCDF, ZARR, stamp
from pipelines.operation.products.published import read_probabilities, read_published
from pipelines.radar.frame import Frame
from pipelines.radar.grid import Grid

TURNED_POLE = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
SHAPE = (40, 50)
MODEL = loaded("persistence")
POLICY = SIMULATED.policy
FMI = "+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +R=6371288 +x_0=380886.31 +y_0=3395677.92 +units=m +no_defs"
SOUTH = "+proj=aea +lat_1=-18 +lat_2=-36 +lat_0=-27.7 +lon_0=153.2 +ellps=GRS80 +units=m"
KILOMETRE = {"left": -20000.0, "top": 30000.0, "dx": 1000.0, "dy": 1000.0, "shape": SHAPE}
GRIDS = {
    "equal area": moving_cells("2024-06-01T12:00", 1, shape=SHAPE)[0].grid,
    "polar stereographic": Grid.from_edges(pyproj.CRS.from_proj4(FMI), **KILOMETRE | {"top": 900_000.0}),
    "southern": Grid.from_edges(pyproj.CRS.from_proj4(SOUTH), **KILOMETRE),
    "turned pole": Grid.from_edges(
        pyproj.CRS.from_wkt(pyproj.CRS.from_cf(TURNED_POLE).to_wkt()),
        left=-0.15,
        top=0.035,
        dx=0.02,
        dy=0.01,
        shape=SHAPE,
    ),
    "lat/lon": Grid.from_edges(pyproj.CRS.from_epsg(4326), left=5.0, top=52.0, dx=0.02, dy=0.01, shape=SHAPE),
}


def frames(grid: Grid, **changes: object) -> list[Frame]:
    made = moving_cells("2024-06-01T23:40", 4, shape=SHAPE)
    return [replace(frame, grid=grid, **changes) for frame in made]


def forecast(observed: list[Frame], leads: int = 12) -> xr.Dataset:
    inputs = Inputs(np.stack([frame.rain_rate for frame in observed]), observed, {})
    return forecast_dataset(persistence(inputs.rain_rate, leads), inputs, 300, MODEL, POLICY)


def of_probabilities(observed: list[Frame]) -> xr.Dataset:
    inputs = Inputs(np.stack([frame.rain_rate for frame in observed]), observed, {})
    model = probabilistic(climatology=[0.1, 0.05, 0.01])
    given = Mixture().distribution(inputs.rain_rate, 12, model.description.rates)
    return forecast_dataset(given.fields["mean"], inputs, 300, model, POLICY, exceedance=given.exceedance)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Forecasts on all grids, two of accumulations, and one with probabilities."""
    folder = tmp_path_factory.mktemp("published")

    def write(name: str, observed: list[Frame], make: Callable[[list[Frame]], xr.Dataset] = forecast) -> None:
        (folder / name).mkdir()
        dataset = make(observed)
        dataset.to_netcdf(folder / name / NETCDF, engine="netcdf4")
        dataset.to_zarr(folder / name / ZARR, zarr_format=2, consolidated=True)

    for name, grid in GRIDS.items():
        write(name.replace("/", ""), frames(grid))
    for end in ("end", "start"):
        write(end, frames(GRIDS["equal area"], time_is=end, interval_s=300))
    write("probabilities", frames(GRIDS["equal area"]), of_probabilities)
    return {folder.name: folder for folder in folder.iterdir()}


def opened(folder: Path) -> xr.Dataset:
    with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as dataset:
        return dataset.load()


def test_the_cf_checker_has_nothing_to_say(published: dict[str, Path]) -> None:
    command = [Path(sys.executable).with_name("compliance-checker"), "--test", "cf:1.11", "--criteria", "strict"]
    # CF 1.6's check of packed data, which knows no unsigned bytes: 1.11 allows them, and its own check of them runs.
    command += ["--skip-checks", "check_packed_data"]
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
        # That pixel is the origin of the turned grid: a quarter of the globe from its pole.
        turned = name == "turned pole"
        lon, lat = (18.0, 50.75) if turned else pyproj.Proj(grid.crs)(grid.x[7], grid.y[3], inverse=True)
        assert dataset["lon"].to_numpy()[3, 7] == pytest.approx(lon, abs=1e-4)
        assert dataset["lat"].to_numpy()[3, 7] == pytest.approx(lat, abs=1e-4)


def test_it_says_what_it_was_made_of(published: dict[str, Path]) -> None:
    said = opened(published["equal area"]).attrs
    observed = frames(GRIDS["equal area"])
    assert json.loads(said["input_frames"]) == [
        {"time": f"2024-06-01T23:{minute}:00", "file": frame.source, "sha256": frame.sha256}
        for minute, frame in zip((40, 45, 50, 55), observed, strict=True)
    ]
    assert (said["missing_frames"], said["fallback"]) == ("none", "none")
    assert json.loads(said["policy"]) == {
        "max_age_minutes": None,
        "min_valid_share": 0.01,
        "max_missing": 1,
        "stand_in": "advected",
        "fallback": ["extrapolation", "persistence"],
    }
    assert (said["model_uri"], said["model_name"], said["model_version"]) == (MODEL.uri, "radar-nowcast", "7")
    assert (said["model_sha256"], said["method"]) == (MODEL.sha256, "persistence")
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?|unknown", said["code_commit"])
    assert said["live_store_snapshot"] == "none"
    assert said["Conventions"] == "CF-1.11"


def test_probabilities_are_packed_into_bytes_and_are_of_their_thresholds(published: dict[str, Path]) -> None:
    observed = np.stack([frame.rain_rate for frame in frames(GRIDS["equal area"])])
    moved, still = (one(observed, 12) for one in (extrapolation, persistence))
    dataset = opened(published["probabilities"])
    probability, threshold = dataset["rainfall_flux_exceedance_probability"], dataset["threshold"]
    assert probability.dims == ("lead_time", "threshold", "y", "x")
    assert threshold.to_numpy().tolist() == [0.1, 1.0, 5.0]
    assert (threshold.attrs["standard_name"], threshold.attrs["units"]) == ("rainfall_flux", "kg m-2 h-1")
    assert (probability.attrs["units"], probability.attrs["relation"]) == ("1", "greater than or equal")
    assert "standard_name" not in probability.attrs
    assert threshold.attrs["spp__relative_to_threshold"] == "greater_than_or_equal_to"
    for number, rate in enumerate((0.1, 1.0, 5.0)):
        wanted = np.where(np.isnan(moved), np.nan, 0.75 * (moved >= rate) + 0.25 * (still >= rate))
        np.testing.assert_allclose(probability[:, number], wanted, atol=0.5 / 250)  # of one byte, rounded
    assert set(np.unique(probability[:, 1])) > {0.0, 1.0}, "the ends are exact"
    assert dataset["rainfall_flux_exceedance_climatology"].to_numpy().tolist() == [0.1, 0.05, 0.01]
    with netCDF4.Dataset(published["probabilities"] / NETCDF) as file:
        packed = file["rainfall_flux_exceedance_probability"]
        packed.set_auto_maskandscale(False)
        assert (packed.dtype, packed.chunking(), packed.filters()["zlib"]) == (np.uint8, [1, 1, *SHAPE], True)
        assert packed[:].max() == 255 and np.unique(packed[:])[-2] == 250
    with xr.open_zarr(published["probabilities"] / ZARR, decode_timedelta=False) as zarr:
        np.testing.assert_array_equal(zarr[probability.name].astype(np.float32), probability)
    assert [read_published(published[name]).rates for name in ("probabilities", "start")] == [[0.1, 1.0, 5.0], []]
    said = list(read_probabilities(published["probabilities"]))
    np.testing.assert_array_equal([of_lead.exceedance for of_lead in said], probability.to_numpy())
    assert [of_lead.minutes for of_lead in said] == read_published(published["probabilities"]).minutes.tolist()
    assert {(one.of, tuple(one.thresholds), one.members) for one in said} == {("rainfall_flux", (0.1, 1.0, 5.0), None)}
    frequency = read_published(published["probabilities"]).frequency
    assert frequency is not None and frequency.tolist() == pytest.approx([0.1, 0.05, 0.01])


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


@pytest.mark.parametrize("name", ["equal area", "lat/lon", "end", "start"])
def test_the_zarr_is_the_same_dataset(published: dict[str, Path], name: str) -> None:
    folder = published[name.replace("/", "")]
    with xr.open_zarr(folder / ZARR, decode_timedelta=False) as zarr:
        xr.testing.assert_identical(zarr.load(), opened(folder).reset_coords(drop=False).set_coords(list(zarr.coords)))


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("equal area", [[0, 1800], [1800, 3600]]),
        ("end", [[0, 1800], [1800, 3600]]),
        ("start", [[300, 2100], [2100, 3900]]),
    ],
)
def test_amounts_have_their_periods(published: dict[str, Path], name: str, bounds: list[list[int]]) -> None:
    dataset = opened(published[name])
    amount = dataset["rainfall_amount_30min"]
    assert (amount.attrs["standard_name"], amount.attrs["units"]) == ("rainfall_amount", "kg m-2")
    assert amount.attrs["cell_methods"] == "period_30min: sum area: mean"
    assert dataset[dataset["period_30min"].attrs["bounds"]].to_numpy().tolist() == bounds
    assert dataset["period_60min_bounds"].to_numpy().tolist() == [[bounds[0][0], bounds[1][1]]]
    reference = np.datetime64("2024-06-01T23:55")
    ends = dataset["time_30min"].to_numpy()
    assert (ends == reference + np.array(bounds)[:, 1].astype("timedelta64[s]")).all()
    # Of persistence, half an hour brings half of the rain rate.
    observed = frames(GRIDS["equal area"])[-1].rain_rate
    np.testing.assert_allclose(amount[1], observed / 2, rtol=1e-5)
    np.testing.assert_allclose(dataset["rainfall_amount_60min"][0], observed, rtol=1e-5)


def test_amounts_that_the_lead_times_don_t_fill_are_left_out() -> None:
    assert "rainfall_amount_60min" not in forecast(frames(GRIDS["equal area"]), 11)
    assert "rainfall_amount_30min" in forecast(frames(GRIDS["equal area"]), 11)
    assert not [name for name in forecast(frames(GRIDS["equal area"]), 5).variables if "min" in str(name)]


def test_stamp() -> None:
    assert stamp(np.datetime64("2016-09-28T16:45")) == "20160928T164500Z"
    assert stamp(np.datetime64("2024-02-29T23:59:07.5", "ns")) == "20240229T235907Z"
