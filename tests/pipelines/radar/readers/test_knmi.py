"""KNMI's products of today, and what isn't an observation."""

from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pyproj
import pytest
from radar_files import (
    KNMI,
    edited,
    write_knmi,
)
from refused import refused_frame

from pipelines.common.errors import UnreadableFile
from pipelines.params.radar import FileHints
from pipelines.radar.readers.read import read_frame, read_headers, read_time

TIME = datetime(2021, 2, 28, 12, 0)
LATE = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)
RAW = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)
IN_KM = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378137 +b=6356752 +x_0=0 +y_0=0 +units=km"


def amounts() -> np.ndarray:
    raw = np.zeros((12, 16), np.uint16)
    raw[2, 3] = 25
    raw[:, 0] = 65535
    return raw


@pytest.mark.parametrize(
    ("parameter", "rain"),
    [
        ("PRECIP_[MM]", 3.0),
        ("PRECIPITATION_[MM]", 3.0),
        ("ACCUMULATED_PRECIPITATION_[MM]", 3.0),
        ("PRECIP_[MM/H]", 0.25),
    ],
)
def test_rain_by_whatever_name(tmp_path: Path, parameter: str, rain: float) -> None:
    path = write_knmi(tmp_path / "a.h5", amounts(), TIME)
    with h5py.File(path, "r+") as file:
        file["image1"].attrs["image_geo_parameter"] = np.bytes_(parameter)
        file["image1/calibration"].attrs["calibration_missing_data"] = np.array([65534])
        file["image1/image_data"][0, 1] = 65534
        file.copy("image1", "image2")
        file["image2"].attrs["image_geo_parameter"] = np.bytes_("QUALITY_[-]")
    frame = read_frame(path, Z_R)
    assert frame.rain_rate[2, 3] == pytest.approx(rain)
    assert np.count_nonzero(np.isnan(frame.rain_rate)) == 13
    assert frame.interval_s == (300 if "[MM]" in parameter else 0)


def test_an_ellipsoid_in_metres_with_a_projection_in_kilometres(tmp_path: Path) -> None:
    path = write_knmi(tmp_path / "a.h5", amounts(), TIME)
    with h5py.File(path, "r+") as file:
        file["geographic/map_projection"].attrs["projection_proj4_params"] = np.bytes_(IN_KM)
    grid = read_frame(path, Z_R).grid
    assert grid.crs.axis_info[0].unit_name == "metre"
    assert grid.crs.ellipsoid.semi_major_metre == 6378137.0
    assert (grid.x[0], grid.y[0]) == (500.0, -3650500.0)
    lon, lat = grid.lonlat()
    assert (lon[2, 3], lat[2, 3]) == pytest.approx(pyproj.Proj(IN_KM)(3.5, -3652.5, inverse=True), abs=1e-6)


def test_fractions_of_a_second_are_rounded(tmp_path: Path) -> None:
    path = write_knmi(tmp_path / "a.h5", amounts(), TIME)
    with h5py.File(path, "r+") as file:
        file["overview"].attrs["product_datetime_end"] = np.bytes_("28-FEB-2021;11:59:59.999")
    frame = read_frame(path, Z_R)
    assert (frame.time, frame.interval_s) == (np.datetime64(TIME), 300)


def test_an_image_of_rain_need_not_be_the_first(tmp_path: Path) -> None:
    path = write_knmi(tmp_path / "a.h5", amounts(), TIME)
    with h5py.File(path, "r+") as file:
        file.move("image1", "image10")
        file.copy("image10", "image2")
        file["image2"].attrs["image_geo_parameter"] = np.bytes_("ADJUSTMENT_FACTOR_[DB]")
    assert read_frame(path, Z_R).rain_rate[2, 3] == pytest.approx(3.0)


def test_forecasts_are_refused(tmp_path: Path) -> None:
    path = write_knmi(tmp_path / "a.h5", amounts(), TIME)
    with h5py.File(path, "r+") as file:
        file["image1"].attrs["image_datetime_valid"] = np.bytes_("28-FEB-2021;12:45:00.000")
    with pytest.raises(UnreadableFile, match="a nowcast of 12:00 for 12:45"):
        read_time(path)
    path = write_knmi(tmp_path / "b.h5", amounts(), TIME)
    with h5py.File(path, "r+") as file:
        file.copy("image1", "image2")
    with pytest.raises(UnreadableFile, match="2 images of ACCUMULATED_PRECIPITATION_\\[MM\\]: a nowcast"):
        read_time(path)


def test_a_radar_that_is_not_operational_is_out(tmp_path: Path) -> None:
    path = write_knmi(tmp_path / "a.h5", amounts(), TIME)
    with h5py.File(path, "r+") as file:
        for number, (name, operational) in enumerate([("DeBilt", 0), ("DenHelder", 1), ("Herwijnen", None)], 1):
            radar = file.create_group(f"radar{number}").attrs
            radar["radar_name"] = np.bytes_(name)
            if operational is not None:
                radar["radar_operational"] = np.array([operational], np.int32)
    (header,), _ = read_headers(path)
    assert header.radars == {"DeBilt": False, "DenHelder": True, "Herwijnen": True}


def test_what_the_user_says_against_the_file_is_an_error(tmp_path: Path) -> None:
    path = write_knmi(tmp_path / "a.h5", amounts(), TIME)
    assert read_time(path, FileHints(nodata=65535.0, interval_s=300)) == np.datetime64(TIME)
    with pytest.raises(UnreadableFile, match=r"nodata: params\.yaml says"):
        read_time(path, FileHints(nodata=0.0))
    with pytest.raises(UnreadableFile, match=r"interval_s: params\.yaml says 600"):
        read_time(path, FileHints(interval_s=600))


def test_knmi_accumulation_by_the_calibration_of_the_file(tmp_path):
    raw = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16)
    raw[0, 1] = 65535
    frame = read_frame(write_knmi(tmp_path / "a.h5", raw, LATE), Z_R)
    assert np.isnan(frame.rain_rate[0, 1])
    assert frame.rain_rate[0, 0] == 0
    assert frame.rain_rate[2, 3] == pytest.approx(35 * 0.01 * 12)
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("end", 300, None)
    assert frame.time == np.datetime64("2021-02-28T23:55:00")
    raw = np.where(raw < 65535, raw + 1, raw)  # no pixel below the offset of the next formula
    other = write_knmi(tmp_path / "b.h5", raw, LATE, formula="GEO = 0.02*PV - 0.02", interval=timedelta(hours=1))
    assert read_frame(other, Z_R).rain_rate[2, 3] == pytest.approx(36 * 0.02 - 0.02)


def test_knmi_grid_comes_in_metres(tmp_path):
    grid = read_frame(write_knmi(tmp_path / "a.h5", np.ones((12, 16)), LATE), Z_R).grid
    np.testing.assert_allclose(grid.x, 1000 * (np.arange(16) + 0.5))
    np.testing.assert_allclose(grid.y, -3650000 - 1000 * (np.arange(12) + 0.5))
    kilometres = pyproj.Proj(KNMI.replace("6378.137", "6378137").replace("6356.752", "6356752"))
    lon, lat = grid.lonlat()
    assert (lon[0, 0], lat[0, 0]) == pytest.approx(kilometres(500.0, -3650500.0, inverse=True), abs=1e-6)


def test_knmi_reflectivity_0_is_dry_and_255_outside(tmp_path, raw):
    raw[0, 0], raw[0, 1], raw[5, 7] = 255, 0, 144
    frame = read_frame(write_knmi(tmp_path / "a.h5", raw, LATE, kind="reflectivity"), Z_R)
    assert np.isnan(frame.rain_rate[0, 0])
    assert frame.rain_rate[0, 1] == 0
    assert frame.rain_rate[5, 7] == pytest.approx(11.53, abs=0.005)
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("instant", 0, Z_R)


@pytest.mark.parametrize(
    ("group", "attributes", "reason"),
    [
        ("image1", {"image_geo_parameter": np.bytes_("ECHOTOP_[KM]")}, "an image of ECHOTOP"),
        ("overview", {"product_datetime_end": np.bytes_("31-FEB-2021;00:00:00.000")}, "_end in /overview is '31-FEB"),
        ("overview", {"product_datetime_end": np.bytes_("28-FEB-2021;23:50:00.000")}, "mm over 0 s"),
        ("geographic", {"geo_row_offset": np.array([3660.0])}, "the corners and the offsets of the grid disagree"),
        ("geographic", {"geo_dim_pixel": np.bytes_("M,M")}, "kilometres"),
    ],
)
def test_knmi_headers_that_say_something_else(tmp_path, group, attributes, reason):
    assert reason in refused_frame(edited(write_knmi(tmp_path / "a.h5", RAW, LATE), group, **attributes))


def test_knmi_calibration_that_is_not_linear(tmp_path):
    path = write_knmi(tmp_path / "a.h5", RAW, LATE, formula="GEO=PV*PV")
    assert "not linear" in refused_frame(path, header_too=False)
