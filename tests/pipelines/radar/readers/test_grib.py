"""GRIB2: MRMS and others, and what is no rain."""

import gzip
import re
from datetime import datetime

import numpy as np
import pytest
from radar_files import write_mrms
from refused import refused_frame

from pipelines.params.radar import FileHints
from pipelines.radar.readers.read import read_frame

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)


def test_mrms(tmp_path):
    values = np.zeros((12, 16), np.float32)
    values[0, 0], values[2, 3] = -3.0, 7.5
    frame = read_frame(write_mrms(tmp_path / "a.grib2", values, TIME), Z_R)
    assert np.isnan(frame.rain_rate[0, 0])
    assert frame.rain_rate[2, 3] == 7.5
    assert np.isnan(frame.rain_rate).sum() == 1
    assert (frame.time, frame.time_is, frame.z_r) == (np.datetime64(TIME), "instant", None)
    assert frame.grid.crs.is_geographic
    np.testing.assert_allclose(frame.grid.x, -130 + 0.01 * (np.arange(16) + 0.5), atol=1e-6)
    np.testing.assert_allclose(frame.grid.y, 55 - 0.01 * (np.arange(12) + 0.5), atol=1e-6)
    packed = tmp_path / "a.grib2.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.grib2").read_bytes()))
    np.testing.assert_array_equal(read_frame(packed, Z_R).rain_rate, frame.rain_rate)


MRMS = "8 0 97 0 0 0 0 102 0 0 255 1 0"


HOUR_TO = "0 0 97 0 0 1 0 1 0 0 255 1 0 2021 3 1 0 55 0 1 0 1 1 1 1 255 0"


@pytest.mark.parametrize(
    ("number", "interval_s"), [(2, 3600), (6, 86400), (38, 3 * 3600), (12, 6 * 3600 * 2), (45, 900)]
)
def test_mrms_amounts_over_the_period_in_their_names(tmp_path, number, interval_s):
    """-3 is where no radar sees, -1 is missing; numbers of MRMS' table: QPE of 1, 24, 3, 12 hours, 15 minutes."""
    values = np.zeros((12, 16), np.float32)
    values[0, 0], values[0, 1], values[2, 3] = -3, -1, 6
    frame = read_frame(write_mrms(tmp_path / "a.grib2", values, TIME, pds=f"6 {number} {MRMS}"), Z_R)
    assert (frame.time, frame.time_is, frame.interval_s) == (np.datetime64(TIME), "end", interval_s)
    assert frame.rain_rate[2, 3] == pytest.approx(6 * 3600 / interval_s)
    assert np.isnan(frame.rain_rate[0, :2]).all()
    assert np.isnan(frame.rain_rate).sum() == 2


def test_mrms_rates_and_reflectivity_are_missing_by_their_own_numbers(tmp_path):
    values = np.zeros((12, 16), np.float32)
    values[0, 0], values[0, 1], values[2, 3] = -3, -1, 6
    rate = read_frame(write_mrms(tmp_path / "a.grib2", values, TIME), Z_R).rain_rate
    assert np.isnan(rate[0, :2]).all()
    assert np.isnan(rate).sum() == 2
    values[0, :3], values[2, 3] = (-999, -99, -10), 40
    path = write_mrms(tmp_path / "b.grib2", values, TIME, pds=f"10 0 {MRMS}")
    rate = read_frame(path, Z_R).rain_rate
    np.testing.assert_equal(rate[0, :3], [np.nan, 0, 0])  # -99: seen, and no echo
    assert rate[2, 3] == pytest.approx(11.53, abs=0.005)


def test_grib_forecasts_are_no_observations(tmp_path):
    values = np.ones((12, 16), np.float32)
    model = {"discipline": 0, "kind": 1}
    rate = write_mrms(tmp_path / "a", values, TIME, pds="1 7 2 0 97 0 0 0 45 1 0 0 255 1 0", **model)
    assert refused_frame(rate, header_too=False) == "a nowcast of 23:55 for 00:40 UTC, 2021-03-01"
    amount = write_mrms(tmp_path / "b", values, TIME, pds=f"1 8 2 {HOUR_TO.removeprefix('0 ')}", template=8, **model)
    assert refused_frame(amount, header_too=False) == "a nowcast of 23:55 for 00:55 UTC, 2021-03-01"


@pytest.mark.parametrize(
    ("discipline", "parameter", "name"),
    [(0, "2 2", "UGRD"), (0, "1 11", "SNOD"), (0, "19 0", "VIS"), (209, "3 28", "MESH"), (209, "12 4", "STREAMFLOW")],
)
def test_grib_of_a_speed_or_a_depth_is_no_rain(tmp_path, discipline, parameter, name):
    """m/s and mm are units of rain as well."""
    values = np.full((12, 16), 0.1, np.float32)
    path = write_mrms(tmp_path / "a", values, TIME, discipline=discipline, pds=f"{parameter} {MRMS}")
    assert re.search(rf"{name} .*, which isn't of precipitation", refused_frame(path, header_too=False))


def test_what_grib_does_not_say_of_an_amount_the_user_may(tmp_path):
    path = write_mrms(tmp_path / "a", np.full((12, 16), 2, np.float32), TIME, discipline=0, pds=f"1 8 {MRMS}")
    assert "no `interval_s`" in refused_frame(path, header_too=False)
    frame = read_frame(path, Z_R, hints=FileHints(interval_s=600, time_is="start"))
    assert (frame.time_is, frame.interval_s, frame.rain_rate[0, 0]) == ("start", 600, 12)


def test_grib_amount_of_an_observed_period(tmp_path):
    """The same message where it says that radars observed it."""
    values = np.full((12, 16), 2, np.float32)
    path = write_mrms(tmp_path / "a", values, TIME, discipline=0, template=8, pds=f"1 8 8 {HOUR_TO.removeprefix('0 ')}")
    frame = read_frame(path, Z_R)
    assert (frame.time, frame.interval_s) == (np.datetime64("2021-03-01T00:55:00"), 3600)
    assert frame.rain_rate[0, 0] == pytest.approx(2)
