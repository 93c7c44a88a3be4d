"""Radar files through xarray's own front door, and pysteps': numbers by hand, lazily, errors in a line."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyproj
import pysteps
import pytest
import xarray as xr
from archive import moving_cells, write_store
from conftest import REPOSITORY
from netCDF4 import Dataset
from radar_files import LAEA, name_of, write_bom, write_odim, write_radolan

from pipelines.common.errors import UserError
from pipelines.radar import xarray_engine

NOON = datetime(2024, 6, 1, 12)
ODIM = np.array([[255, 0, 64, 84, 124, 144]] * 4, np.uint8)  # unknown, no echo, 0, 10, 30 and 40 dBZ
OF_ODIM = [np.nan, 0, *(10 ** (np.array([0, 10, 30, 40]) / 16) / 200 ** (1 / 1.6))]  # Marshall and Palmer
MM = np.array([[-1, 0, 20, 200], [0, 0, 1, 2]], np.int16)  # of 0.05 mm in 10 minutes


@pytest.fixture(scope="module", autouse=True)
def entry_points(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on the path with what pip would tell xarray and pysteps, whichever version of this is installed."""
    folder = tmp_path_factory.mktemp("installed")
    about = folder / "scs_test-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: scs-test\nVersion: 0\n")
    points = ConfigParser()
    points.read_dict(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"])
    with (about / "entry_points.txt").open("w") as stream:
        points.write(stream)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        xr.backends.refresh_engines()
        pysteps.io.interface.discover_importers()
        yield folder
    xr.backends.refresh_engines()


def odim(folder: Path, minutes: int = 0, **kwargs: object) -> Path:
    time = NOON + timedelta(minutes=minutes)
    return write_odim(folder / name_of(time), ODIM, time, **kwargs)


def test_odim_is_rain_rate_on_cf_coordinates(tmp_path: Path) -> None:
    dataset = xr.open_dataset(odim(tmp_path, left=2000.0, top=7000.0), engine="scs")
    rain = dataset["rainfall_flux"]
    assert (rain.dims, rain.dtype, rain.attrs["units"]) == (("time", "y", "x"), np.float32, "kg m-2 h-1")
    np.testing.assert_allclose(rain[0, 0], OF_ODIM, rtol=1e-5)
    assert dataset["time"].to_numpy() == [np.datetime64("2024-06-01T12:00")]
    np.testing.assert_allclose(dataset["x"], 2500 + 1000 * np.arange(6), atol=0.5)
    np.testing.assert_allclose(dataset["y"], 6500 - 1000 * np.arange(4), atol=0.5)
    lon, lat = pyproj.Proj(LAEA)(2500.0, 6500.0, inverse=True)
    assert (dataset["lon"][0, 0], dataset["lat"][0, 0]) == (pytest.approx(lon, abs=1e-5), pytest.approx(lat, abs=1e-5))
    assert pyproj.CRS.from_wkt(dataset["crs"].attrs["crs_wkt"]).to_authority() is None
    assert dataset.attrs["license"] == "LicenseRef-scancode-unknown"
    assert (rain.attrs["z_r_a"], rain.attrs["z_r_b"]) == (200.0, 1.6)


def test_what_the_user_says_is_heard(tmp_path: Path) -> None:
    path = odim(tmp_path, quantity="DBZH")
    rain = xr.open_dataset(path, engine="scs", z_r={"a": 250.0, "b": 1.2})["rainfall_flux"]
    assert rain[0, 0, 4].item() == pytest.approx((1000 / 250) ** (1 / 1.2), rel=1e-5)
    with pytest.raises(UserError, match=r"^engine scs: colour: unknown key$"):
        xr.open_dataset(path, engine="scs", colour="red")
    with pytest.raises(UserError, match=r"^engine scs: unit: .*given: 3"):
        xr.open_dataset(path, engine="scs", unit=3)
    with pytest.raises(UserError, match="only ingestion brings frames onto another grid"):
        xr.open_dataset(path, engine="scs", regrid={"crs": None, "resolution": 2000.0, "min_valid": 0.5})


def test_amounts_have_bounds(tmp_path: Path) -> None:
    dataset = xr.open_dataset(write_bom(tmp_path / "rain.nc", MM, NOON), engine="scs", drop_variables="source_sha256")
    np.testing.assert_allclose(dataset["rainfall_flux"][0], [[np.nan, 0, 6, 60], [0, 0, 0.3, 0.6]], rtol=1e-6)
    bounds = dataset["time_bounds"].to_numpy().astype("datetime64[m]")
    assert bounds.tolist() == [[NOON - timedelta(minutes=10), NOON]]
    assert "source_sha256" not in dataset.variables


def test_frames_are_read_when_they_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of three times, the last first; of one of them alone the pixels are read."""
    path = tmp_path / "day.nc"
    time = [datetime(2024, 6, 1, 12, minute) for minute in (10, 0, 5)]
    values = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    with Dataset(path, "w") as file:
        file.Conventions = "CF-1.8"
        for name, axis in (("lat", 50 - 0.01 * np.arange(4)), ("lon", 8 + 0.01 * np.arange(5))):
            file.createDimension(name, len(axis))
            variable = file.createVariable(name, "f8", (name,))
            variable.standard_name = {"lat": "latitude", "lon": "longitude"}[name]
            variable.units = {"lat": "degrees_north", "lon": "degrees_east"}[name]
            variable[:] = axis
        file.createDimension("time", 3)
        variable = file.createVariable("time", "f8", ("time",))
        variable.standard_name, variable.units = "time", "minutes since 2024-06-01 12:00:00"
        variable[:] = [when.minute for when in time]
        rain = file.createVariable("rain", "f4", ("time", "lat", "lon"), chunksizes=(1, 4, 5))
        rain.standard_name, rain.units = "rainfall_rate", "mm h-1"
        rain[:] = values
    looked_at: list[int] = []
    read_frame = xarray_engine._Frames._of

    def of(self: object, key: tuple[object, ...]) -> object:
        looked_at.extend(np.atleast_1d(np.array(self.numbers)[key[0]]).tolist())  # type: ignore[attr-defined]
        return read_frame(self, key)  # type: ignore[arg-type]

    monkeypatch.setattr(xarray_engine._Frames, "_of", of)
    dataset = xr.open_dataset(path, engine="scs")
    assert looked_at == []
    assert dataset["time"].dt.minute.to_numpy().tolist() == [0, 5, 10]
    rain = dataset["rainfall_flux"]
    np.testing.assert_array_equal(rain.sel(time="2024-06-01T12:10")[1:3, [4, 0]], values[0, 1:3][:, [4, 0]])
    assert looked_at == [0]
    chunked = xr.open_dataset(path, engine="scs", chunks={})["rainfall_flux"]
    assert chunked.chunks == ((1, 1, 1), (4,), (5,))
    np.testing.assert_array_equal(chunked.compute(), values[[1, 2, 0]])
    np.testing.assert_array_equal(rain.isel(time=slice(0, 0)), np.empty((0, 4, 5)))
    assert rain.isel(time=slice(0, 0)).to_numpy().dtype == np.float32
    np.testing.assert_array_equal(rain[:, 2, 3], values[[1, 2, 0], 2, 3])


def test_many_files_are_one_dataset(tmp_path: Path) -> None:
    files = [odim(tmp_path, minutes) for minutes in (0, 5, 10)]
    with xr.open_mfdataset(files, engine="scs") as dataset:
        assert dataset["rainfall_flux"].shape == (3, 4, 6)
        np.testing.assert_allclose(dataset["rainfall_flux"][2, 0], OF_ODIM, rtol=1e-5)
        assert dataset["crs"].shape == ()
        assert dataset["source_file"].to_numpy().tolist() == [path.name for path in files]


def test_a_store_of_frames_is_one_too(tmp_path: Path) -> None:
    frames = moving_cells("2024-06-01T12:00", 3)
    dataset = xr.open_dataset(write_store(tmp_path / "radar.zarr", frames), engine="scs")
    np.testing.assert_allclose(dataset["rainfall_flux"][1], frames[1].rain_rate, atol=0.00501)
    assert dataset.attrs["license"] == "CC0-1.0"
    packing = {"dtype": "uint16", "scale_factor": 0.01, "_FillValue": np.uint16(65535)}
    dataset.drop_encoding().isel(y=slice(None, None, -1)).to_zarr(
        tmp_path / "south.zarr", zarr_format=3, consolidated=False, encoding={"rainfall_flux": packing}
    )
    south = xr.open_dataset(tmp_path / "south.zarr", engine="scs", drop_variables=["lat", "nosuch"])
    np.testing.assert_array_equal(south["y"], dataset["y"])
    np.testing.assert_allclose(south["rainfall_flux"], dataset["rainfall_flux"], rtol=1e-6)


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    (tmp_path / "page.h5").write_text("<html>")
    forecast = write_radolan(tmp_path / "rv.bin", np.zeros((1100, 900), np.uint16), NOON, product="RV", lead=30)
    for path, reason in (
        (tmp_path / "none.h5", "No such file"),
        (tmp_path / "empty.h5", "empty"),
        (tmp_path / "page.h5", "a web page"),
        (forecast, "a nowcast of 12:00"),
    ):
        with pytest.raises(UserError, match=reason) as error:
            xr.open_dataset(path, engine="scs")
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)
    broken = odim(tmp_path)
    dataset = xr.open_dataset(broken, engine="scs")
    broken.write_bytes(broken.read_bytes()[:3000])
    with pytest.raises(UserError, match=broken.name):
        dataset["rainfall_flux"].load()


def test_a_file_that_was_replaced_is_not_taken_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_odim(tmp_path / "latest.h5", ODIM, NOON)
    dataset = xr.open_dataset(path.name, engine="scs")
    monkeypatch.chdir("/")
    np.testing.assert_allclose(dataset["rainfall_flux"][0, 1].copy(), OF_ODIM, rtol=1e-5)
    write_odim(path, ODIM[:, ::-1].copy(), NOON + timedelta(minutes=5))
    with pytest.raises(UserError, match=rf"^{path}: it changed since it was opened$"):
        dataset["rainfall_flux"].load()


def test_threads_read_side_by_side(tmp_path: Path) -> None:
    """As open_mfdataset(parallel=True) has them; netCDF's library ends the process that lets two in."""
    files = [write_bom(tmp_path / f"{i:02}.nc", np.full((40, 40), i), NOON + timedelta(minutes=i)) for i in range(60)]
    with ThreadPoolExecutor(8) as pool:
        means = list(pool.map(lambda file: xr.open_dataset(file, engine="scs")["rainfall_flux"].mean().item(), files))
    np.testing.assert_allclose(means, 0.3 * np.arange(60), rtol=1e-5)


def test_looking_for_engines_loads_no_readers(entry_points: Path) -> None:
    """Whoever opens a netCDF file has xarray import all engines."""
    code = "import sys, xarray; xarray.backends.list_engines()['scs']; print(*sys.modules)"
    path = os.pathsep.join(map(str, (REPOSITORY, entry_points)))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": path})
    assert "pipelines.radar.xarray_engine" in done.stdout.split()
    assert {"pydantic", "pipelines.radar.readers.read", "pipelines.radar.store"}.isdisjoint(done.stdout.split())


def test_pysteps_imports_a_frame(tmp_path: Path) -> None:
    path = odim(tmp_path, left=2000.0, top=7000.0)
    precip, quality, metadata = pysteps.io.get_method("scs", "importer")(str(path))
    assert (precip.dtype, quality) == (np.float64, None)
    np.testing.assert_allclose(precip[3], OF_ODIM, rtol=1e-5)
    own, _, wanted = pysteps.io.get_method("odim_hdf5", "importer")(str(path), qty="DBZH")
    assert set(wanted) - {"ll_lon", "ll_lat", "ur_lon", "ur_lat"} <= set(metadata)  # ODIM's alone
    for edge in ("x1", "x2", "y1", "y2", "xpixelsize", "ypixelsize"):
        assert metadata[edge] == pytest.approx(wanted[edge], abs=0.5), edge
    assert (metadata["yorigin"], metadata["cartesian_unit"]) == (wanted["yorigin"], wanted["cartesian_unit"])
    rain, converted = pysteps.utils.conversion.to_rainrate(own, wanted | {"zr_a": 200.0, "zr_b": 1.6})
    np.testing.assert_allclose(precip[:, 3:], rain[:, 3:], rtol=1e-5)  # where both have an echo
    assert (metadata["unit"], metadata["transform"]) == (converted["unit"], converted["transform"])
    filled, _, of_amounts = pysteps.io.get_method("scs", "importer")(
        str(write_bom(tmp_path / "rain.nc", MM, NOON)), fillna=-1.0
    )
    np.testing.assert_allclose(filled, [[-1, 0, 6, 60], [0, 0, 0.3, 0.6]], rtol=1e-6)
    assert (of_amounts["accutime"], of_amounts["threshold"]) == (10.0, pytest.approx(0.3))
    back, _ = pysteps.utils.conversion.to_reflectivity(filled.clip(0), of_amounts)  # by pysteps' own Z–R
    assert back[0, 3] == pytest.approx(10 * np.log10(200 * 60**1.6))
    assert np.isnan(pysteps.utils.conversion.to_raindepth(precip, metadata)[0]).all()  # of an instant: over how long?
