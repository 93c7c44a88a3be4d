"""Pixels, times and grids of files whose bytes the tests wrote; pysteps' importers as a second witness."""

import gzip
import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pyproj
import pytest
import xarray as xr
from radar_files import FMI, KNMI, LAEA, name_of, write_bom, write_fmi_pgm, write_knmi, write_mch_gif, write_odim

from pipelines.radar.readers.read import read_frame, read_header, read_time

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)


def marshall_palmer(dbz: float) -> float:
    return (10 ** (dbz / 10) / 200) ** (1 / 1.6)


@pytest.fixture
def raw() -> np.ndarray:
    return np.random.default_rng(3).integers(1, 255, (12, 16)).astype(np.uint8)


def test_odim_reflectivity(tmp_path, raw):
    raw[0, 0], raw[0, 1], raw[0, 2] = 255, 0, 63  # no data, undetect, -0.5 dBZ
    raw[5, 7], raw[8, 3] = 144, 100  # 40 and 18 dBZ
    path = write_odim(tmp_path / "any.name", raw, TIME)
    frame = read_frame(path, Z_R)
    assert np.isnan(frame.rain_rate[0, 0])
    assert frame.rain_rate[0, 1] == 0
    assert frame.rain_rate[0, 2] == 0
    assert frame.rain_rate[5, 7] == pytest.approx(11.53, abs=0.005)  # (10^4 / 200)^(1 / 1.6)
    assert frame.rain_rate[8, 3] == pytest.approx(marshall_palmer(18.0), rel=1e-5)
    assert frame.rain_rate.dtype == np.float32
    assert frame.time == np.datetime64("2021-02-28T23:55:00")
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("instant", 0, Z_R)
    assert frame.source == "any.name"
    assert frame.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_odim_grid_is_north_up_with_pixel_centres_in_metres(tmp_path, raw):
    grid = read_frame(write_odim(tmp_path / "a.h5", raw, TIME, left=-3000.0, top=5000.0, scale=500.0), Z_R).grid
    np.testing.assert_allclose(grid.x, -3000 + 500 * (np.arange(16) + 0.5), atol=1e-3)
    np.testing.assert_allclose(grid.y, 5000 - 500 * (np.arange(12) + 0.5), atol=1e-3)
    lon, lat = grid.lonlat()
    expected = pyproj.Proj(LAEA)(-2750.0, 4750.0, inverse=True)
    assert (lon[0, 0], lat[0, 0]) == pytest.approx(expected, abs=1e-7)


def test_odim_latitude_longitude_grid_stays_one(tmp_path, raw):
    path = write_odim(tmp_path / "a.h5", raw, TIME, projdef="+proj=longlat +datum=WGS84", left=5, top=50, scale=0.01)
    grid = read_frame(path, Z_R).grid
    assert grid.crs.is_geographic
    assert grid.x[[0, -1]] == pytest.approx([5.005, 5.155])
    assert grid.y[[0, -1]] == pytest.approx([49.995, 49.885])


def test_odim_without_gain_offset_and_undetect(tmp_path, raw):
    values = raw / 4.0
    values[0, 0] = -9999000.0
    path = write_odim(tmp_path / "a.h5", values, TIME, gain=None, offset=None, nodata=-9999000.0, undetect=None)
    rain_rate = read_frame(path, Z_R).rain_rate
    assert np.isnan(rain_rate[0, 0])
    assert rain_rate[1, 1] == pytest.approx(marshall_palmer(values[1, 1]), rel=1e-5)


def test_odim_what_of_the_dataset_counts_for_its_data(tmp_path, raw):
    in_data = read_frame(write_odim(tmp_path / "a.h5", raw, TIME), Z_R)
    in_dataset = read_frame(write_odim(tmp_path / "b.h5", raw, TIME, calibration_in_dataset=True), Z_R)
    np.testing.assert_array_equal(in_data.rain_rate, in_dataset.rain_rate)


def test_names_of_the_radars_of_fmi(tmp_path, raw):
    path = write_fmi_pgm(tmp_path / "a.pgm", raw, TIME)
    path.write_bytes(path.read_bytes().replace(b"# radar KOR", b"# radar VAN 1 24.8730 60.2710\n# radar KOR"))
    assert read_header(path).radars == {"KOR": True, "VAN": True}


@pytest.mark.parametrize("write", [write_odim, write_knmi])
def test_text_attributes_of_variable_length(tmp_path, raw, write):
    path = write(tmp_path / "a.h5", raw, TIME)
    expected = read_frame(path, Z_R)

    def rewrite(_: str, group: h5py.Group) -> None:
        for name, value in group.attrs.items():
            if isinstance(value, bytes):
                group.attrs[name] = value.decode()

    with h5py.File(path, "r+") as file:
        file.visititems(rewrite)
    frame = read_frame(path, Z_R)
    np.testing.assert_array_equal(frame.rain_rate, expected.rain_rate)
    assert frame.grid.difference(expected.grid) is None


def test_odim_rate_is_mm_per_hour(tmp_path, raw):
    raw[2, 2], raw[3, 3] = 0, 255
    frame = read_frame(write_odim(tmp_path / "a.h5", raw, TIME, quantity="RATE", gain=0.1, offset=0.0), Z_R)
    assert frame.rain_rate[2, 2] == 0
    assert np.isnan(frame.rain_rate[3, 3])
    assert frame.rain_rate[1, 1] == pytest.approx(raw[1, 1] / 10)
    assert (frame.time_is, frame.z_r) == ("instant", None)


def test_a_little_below_0_is_dry(tmp_path, raw):
    raw[4, 4], raw[4, 5] = 1, 20
    frame = read_frame(write_odim(tmp_path / "a.h5", raw, TIME, quantity="RATE", gain=0.1, offset=-1.0), Z_R)
    assert frame.rain_rate[4, 4] == 0  # -0.9 mm/h
    assert frame.rain_rate[4, 5] == pytest.approx(1.0)


def test_odim_accumulation_is_divided_by_its_own_interval_and_ends_at_its_time(tmp_path, raw):
    path = write_odim(
        tmp_path / "a.h5", raw, TIME, quantity="ACRR", gain=0.1, offset=0.0, interval=timedelta(minutes=15)
    )
    frame = read_frame(path, Z_R)
    assert frame.rain_rate[1, 1] == pytest.approx(raw[1, 1] / 10 * 4)
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("end", 900, None)
    assert frame.time == np.datetime64("2021-02-28T23:55:00")


def test_fmi(tmp_path, raw):
    raw[0, 0], raw[0, 1], raw[5, 7] = 255, 0, 144
    plain = read_frame(write_fmi_pgm(tmp_path / "a.pgm", raw, TIME), Z_R)
    assert np.isnan(plain.rain_rate[0, 0])
    assert plain.rain_rate[0, 1] == 0
    assert plain.rain_rate[5, 7] == pytest.approx(11.53, abs=0.005)
    assert plain.time == np.datetime64("2021-02-28T23:55:00")
    assert (plain.time_is, plain.interval_s, plain.z_r) == ("instant", 0, Z_R)
    assert plain.grid.x[0] == pytest.approx(500, abs=0.1)
    assert plain.grid.y[0] == pytest.approx(1225500, abs=0.1)
    lon, lat = plain.grid.lonlat()
    assert (lon[3, 4], lat[3, 4]) == pytest.approx(pyproj.Proj(FMI)(4500.0, 1222500.0, inverse=True), abs=1e-6)
    # Gzip is told by content, and the hash is of the file as it lies there.
    path = write_fmi_pgm(tmp_path / "b.pgm.gz", raw, TIME).rename(tmp_path / "b.pgm")
    packed = read_frame(path, Z_R)
    np.testing.assert_array_equal(packed.rain_rate, plain.rain_rate)
    assert packed.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != plain.sha256


def test_knmi_accumulation_by_the_calibration_of_the_file(tmp_path):
    raw = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16)
    raw[0, 1] = 65535
    frame = read_frame(write_knmi(tmp_path / "a.h5", raw, TIME), Z_R)
    assert np.isnan(frame.rain_rate[0, 1])
    assert frame.rain_rate[0, 0] == 0
    assert frame.rain_rate[2, 3] == pytest.approx(35 * 0.01 * 12)
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("end", 300, None)
    assert frame.time == np.datetime64("2021-02-28T23:55:00")
    raw = np.where(raw < 65535, raw + 1, raw)  # no pixel below the offset of the next formula
    other = write_knmi(tmp_path / "b.h5", raw, TIME, formula="GEO = 0.02*PV - 0.02", interval=timedelta(hours=1))
    assert read_frame(other, Z_R).rain_rate[2, 3] == pytest.approx(36 * 0.02 - 0.02)


def test_knmi_grid_comes_in_metres(tmp_path):
    grid = read_frame(write_knmi(tmp_path / "a.h5", np.ones((12, 16)), TIME), Z_R).grid
    np.testing.assert_allclose(grid.x, 1000 * (np.arange(16) + 0.5))
    np.testing.assert_allclose(grid.y, -3650000 - 1000 * (np.arange(12) + 0.5))
    kilometres = pyproj.Proj(KNMI.replace("6378.137", "6378137").replace("6356.752", "6356752"))
    lon, lat = grid.lonlat()
    assert (lon[0, 0], lat[0, 0]) == pytest.approx(kilometres(500.0, -3650500.0, inverse=True), abs=1e-6)


def test_knmi_reflectivity_0_is_dry_and_255_outside(tmp_path, raw):
    raw[0, 0], raw[0, 1], raw[5, 7] = 255, 0, 144
    frame = read_frame(write_knmi(tmp_path / "a.h5", raw, TIME, kind="reflectivity"), Z_R)
    assert np.isnan(frame.rain_rate[0, 0])
    assert frame.rain_rate[0, 1] == 0
    assert frame.rain_rate[5, 7] == pytest.approx(11.53, abs=0.005)
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("instant", 0, Z_R)


def test_mch(tmp_path):
    raw = np.random.default_rng(3).integers(0, 256, (640, 710)).astype(np.uint8)
    raw[0, 0], raw[0, 1:4], raw[5, 7] = 255, [0, 1, 252], 131
    frame = read_frame(write_mch_gif(tmp_path / "a", raw, TIME), Z_R)
    assert np.isnan(frame.rain_rate[0, 0])
    assert frame.rain_rate[0, 1:4].tolist() == [0, 0, 0]
    assert frame.rain_rate[5, 7] == pytest.approx(12 * (10 ** (29.75 / 10) / 316) ** (1 / 1.5), rel=1e-5)
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("end", 300, None)
    assert frame.time == np.datetime64("2021-02-28T23:55:00")
    # The old observatory of Bern, where the Swiss grid is (600000, 200000).
    to_wgs84 = pyproj.Transformer.from_crs(frame.grid.crs, "EPSG:4326", always_xy=True)
    assert to_wgs84.transform(600000, 200000) == pytest.approx((7.438637, 46.951083), abs=2e-5)
    assert frame.grid.x[0] == 255500
    assert frame.grid.y[0] == 479500


@pytest.mark.parametrize("units", ["km", "m"])
def test_bom(tmp_path, units):
    raw = np.arange(12 * 16, dtype=np.int16).reshape(12, 16)
    raw[0, 0] = -1
    frame = read_frame(write_bom(tmp_path / "a", raw, TIME, units=units), Z_R)
    assert np.isnan(frame.rain_rate[0, 0])
    assert frame.rain_rate[2, 3] == pytest.approx(35 * 0.05 * 6)
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("end", 600, None)
    assert frame.time == np.datetime64("2021-02-28T23:55:00")
    np.testing.assert_allclose(frame.grid.x, 1000 * (np.arange(16) - 7.5))
    np.testing.assert_allclose(frame.grid.y, -1000 * (np.arange(12) - 5.5))
    lon, lat = frame.grid.lonlat()
    expected = pyproj.Proj(
        "+proj=aea +lat_0=-27.7178 +lon_0=153.24 +lat_1=-26.2 +lat_2=-29.3 +a=6378137 +b=6356752.31414"
    )(-7500.0, 5500.0, inverse=True)
    assert (lon[0, 0], lat[0, 0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bounds", [True, False])
def test_cf_netcdf_by_xarray_comes_north_up(tmp_path, bounds):
    """A flux in SI units, south first, with a time dimension, as xarray writes it."""
    flux = np.arange(12 * 16, dtype=np.float32).reshape(1, 12, 16) / 3.6e6
    flux[0, 0, 1] = np.nan
    crs = pyproj.CRS("EPSG:3035")
    dataset = xr.Dataset(
        {
            "rain": (
                ("time", "y", "x"),
                flux,
                {"standard_name": "rainfall_flux", "units": "kg m-2 s-1", "grid_mapping": "crs"},
            ),
            "crs": ((), 0, crs.to_cf()),
        },
        {
            "time": ("time", [np.datetime64(TIME, "ns")], {"standard_name": "time"}),
            "y": ("y", 3e6 + 2000.0 * np.arange(12), {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": ("x", 4e6 + 2000.0 * np.arange(16), {"units": "m", "standard_name": "projection_x_coordinate"}),
        },
        {"Conventions": "CF-1.11"},
    )
    if bounds:  # an amount over three minutes
        dataset["rain"] = (dataset["rain"] * 3.6e6).assign_attrs(
            standard_name="rainfall_amount", units="mm", grid_mapping="crs"
        )
        ends = np.array([[TIME - timedelta(minutes=3), TIME]], "datetime64[ns]")
        dataset["time_bnds"] = (("time", "nv"), ends)
        dataset["time"].attrs["bounds"] = "time_bnds"
        dataset["time"].encoding["units"] = "minutes since 2021-01-01"
    dataset.to_netcdf(tmp_path / "a.nc")
    frame = read_frame(tmp_path / "a.nc", Z_R)
    assert frame.rain_rate[11, 5] == pytest.approx(5 * (20 if bounds else 1 / 1000), rel=1e-5)
    assert np.isnan(frame.rain_rate[11, 1])
    assert np.isnan(frame.rain_rate).sum() == 1
    assert frame.grid.y[0] == 3e6 + 22000
    assert frame.grid.crs == crs or frame.grid.crs.to_epsg() == 3035
    assert frame.time == np.datetime64(TIME)
    assert (frame.time_is, frame.interval_s) == (("end", 180) if bounds else ("instant", 0))


@pytest.mark.parametrize("write", [write_odim, write_fmi_pgm])
def test_another_z_r(tmp_path, raw, write):
    raw[5, 7] = 144
    frame = read_frame(write(tmp_path / "a", raw, TIME), (223.0, 1.53))
    assert frame.rain_rate[5, 7] == pytest.approx((10**4 / 223) ** (1 / 1.53), rel=1e-5)
    assert frame.z_r == (223.0, 1.53)


def test_pysteps_reads_the_same(tmp_path, raw):
    from pysteps.io import importers

    raw[:2] = np.linspace(0, 255, 32).astype(np.uint8).reshape(2, 16)
    accumulation = np.where(raw == 255, 65535, raw * 7).astype(np.uint16)
    odim, fmi = write_odim(tmp_path / "a.h5", raw, TIME), write_fmi_pgm(tmp_path / "b.pgm.gz", raw, TIME)
    knmi = write_knmi(tmp_path / "c.h5", accumulation, TIME)
    knmi_dbz = write_knmi(tmp_path / "d.h5", raw, TIME, kind="reflectivity")
    dbz = {
        odim: importers.import_odim_hdf5(str(odim), qty="DBZH")[0],
        fmi: importers.import_fmi_pgm(str(fmi), gzipped=True)[0],
        knmi_dbz: importers.import_knmi_hdf5(str(knmi_dbz), qty="DBZH")[0],
    }
    for path, theirs in dbz.items():
        theirs = np.ma.filled(theirs, np.nan)
        expected = np.where(theirs < 0, 0, marshall_palmer(theirs))
        np.testing.assert_allclose(read_frame(path, Z_R).rain_rate, expected, rtol=1e-5)
    mch = write_mch_gif(tmp_path / "e.gif", np.resize(np.arange(256), (640, 710)), TIME)
    bom = write_bom(tmp_path / "f.nc", raw.astype(np.int16) - 1, TIME)
    amounts = {
        knmi: importers.import_knmi_hdf5(str(knmi))[0] * 12,
        mch: importers.import_mch_gif(str(mch), product="AQC", unit="mm", accutime=5)[0] * 12,
        bom: importers.import_bom_rf3(str(bom))[0] * 6,
    }
    for path, theirs in amounts.items():
        np.testing.assert_allclose(read_frame(path, Z_R).rain_rate, np.ma.filled(theirs, np.nan), rtol=1e-5)


@pytest.mark.parametrize("write", [write_odim, write_fmi_pgm, write_knmi])
def test_time_and_header_need_no_pixels(tmp_path: Path, raw, write):
    path = write(tmp_path / name_of(TIME), raw, TIME)
    frame, header = read_frame(path, Z_R), read_header(path)
    assert read_time(path) == header.time == frame.time
    assert header.grid.difference(frame.grid) is None
    assert (header.time_is, header.interval_s) == (frame.time_is, frame.interval_s)


def test_any_format_may_be_in_gzip(tmp_path, raw):
    path = write_odim(tmp_path / "a.h5", raw, TIME)
    packed = tmp_path / "a.h5.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_frame(packed, Z_R).rain_rate, read_frame(path, Z_R).rain_rate)
