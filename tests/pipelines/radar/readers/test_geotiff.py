"""GeoTIFF, and ESRI's ASCII grids."""

from datetime import datetime

import numpy as np
import pytest
import rasterio
from radar_files import lonlat, write_geotiff
from refused import refused_frame

from pipelines.common.errors import UnreadableFile
from pipelines.params.radar import FileHints
from pipelines.radar.readers.read import read_frame, read_time

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)
RAW = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)


def test_geotiff(tmp_path):
    values = np.where(RAW == 5, -1.0, RAW / 10).astype(np.float32)
    frame = read_frame(write_geotiff(tmp_path / "a.tif", values, TIME, units="mm/h"), Z_R)
    assert np.isnan(frame.rain_rate[0, 4])
    assert frame.rain_rate[2, 3] == pytest.approx(3.6)
    assert (frame.time, frame.time_is) == (np.datetime64(TIME), "instant")
    lon, lat = frame.grid.lonlat()
    projection = "+proj=laea +lat_0=55 +lon_0=10 +ellps=WGS84"
    assert (lon[2, 3], lat[2, 3]) == pytest.approx(lonlat(projection, 3500.0, -2500.0), abs=1e-6)
    frame = read_frame(write_geotiff(tmp_path / "b.tif", values, TIME, units="mm", interval_s="600"), Z_R)
    assert frame.rain_rate[2, 3] == pytest.approx(3.6 * 6)
    assert (frame.time_is, frame.interval_s) == ("end", 600)
    frame = read_frame(
        write_geotiff(tmp_path / "x_202102282355.tif", (RAW / 4).astype(np.float32), None, units="dBZ"), Z_R
    )
    assert frame.time == np.datetime64(TIME)
    assert frame.rain_rate[11, 15] == pytest.approx((10 ** (19.2 - 14.4) / 200) ** (1 / 1.6), rel=1e-5)  # 48 dBZ


def test_geotiff_refused(tmp_path):
    values = RAW.astype(np.float32)
    assert "no unit" in refused_frame(write_geotiff(tmp_path / "a.tif", values, TIME), header_too=False)
    assert "unit 'K'" in refused_frame(write_geotiff(tmp_path / "b.tif", values, TIME, units="K"), header_too=False)
    # TIFF's own time is when the file was made.
    made = {"units": "mm/h", "TIFFTAG_DATETIME": "2021:02:28 23:55:00"}
    assert "no time" in refused_frame(write_geotiff(tmp_path / "c.tif", values, None, **made), header_too=False)
    assert "over how long" in refused_frame(
        write_geotiff(tmp_path / "d.tif", values, TIME, units="mm"), header_too=False
    )
    assert "its name says" in refused_frame(
        write_geotiff(tmp_path / "x_202002282355.tif", values, TIME, units="mm/h"), header_too=False
    )


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2021-03-01T01:55+02", "23:55:00"),
        ("2021-03-01T01:55:00+0200", "23:55:00"),
        ("2021-02-28T18:25:00-05:30", "23:55:00"),
        ("2021-02-28T23:55:00.000Z", "23:55:00"),
        ("2021-02-28 23:55:00 UTC", "23:55:00"),
        ("20210228T235500Z", "23:55:00"),
        ("202102282355", "23:55:00"),
        ("2021-02-28T23:55:09.7Z", "23:55:10"),
    ],
)
def test_geotiff_times(tmp_path, text, utc):
    path = write_geotiff(tmp_path / "a.tif", RAW.astype(np.float32), None, units="mm/h", valid_time=text)
    assert read_time(path) == np.datetime64(f"2021-02-28T{utc}")


@pytest.mark.parametrize("text", ["2021-02-28T23:55 CET", "noon", "2021-02-28T23:55+2500x", ""])
def test_geotiff_times_that_are_none(tmp_path, text):
    path = write_geotiff(tmp_path / "a.tif", RAW.astype(np.float32), None, units="mm/h", valid_time=text or " ")
    assert "valid_time" in refused_frame(path, header_too=False) or "no time" in refused_frame(path, header_too=False)


def test_geotiff_forecasts_are_no_observations(tmp_path):
    values = RAW.astype(np.float32)
    for tags in (
        {"forecast_reference_time": "2021-02-28T23:10:00Z"},
        {"lead_time": "45 minutes"},
        {"title": "Rain nowcast by extrapolation"},
        {"issue_time": "2021-02-28T23:10:00Z"},
        {"LEAD_MINUTES": "45"},
        {"TIFFTAG_IMAGEDESCRIPTION": "Forecast of rain"},
    ):
        assert "a nowcast" in refused_frame(
            write_geotiff(tmp_path / "a.tif", values, TIME, units="mm/h", **tags), header_too=False
        )
    step_0 = {"forecast_reference_time": "2021-02-28T23:55:00Z", "lead_time": "0", "title": "Rain nowcast"}
    assert read_time(write_geotiff(tmp_path / "a.tif", values, TIME, units="mm/h", **step_0)) == np.datetime64(TIME)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"add_offset": "-32"}, "its tag add_offset is -32, and what GDAL unpacks it by 0"),
        ({"gain": "0.5"}, "its tag gain is 0.5, and what GDAL unpacks it by 1"),
        ({"scale_factor": "half"}, "scale_factor is 'half', not numbers"),
        ({"valid_time": "2021-02-28"}, "tag valid_time is 2021-02-28, a date without a time"),
        ({"interval_s": "5 min"}, "tag interval_s is '5 min', not a whole number of seconds"),
        ({"GRIB_REF_TIME": "noon"}, "tag grib_ref_time is 'noon', not a whole number of seconds"),
    ],
)
def test_geotiff_tags_that_are_not_what_they_should_be(tmp_path, tags, reason):
    path = write_geotiff(tmp_path / "a.tif", RAW.astype(np.float32), TIME, units="mm/h", **tags)
    with pytest.raises(UnreadableFile, match=reason):
        read_time(path)


def test_geotiff_of_complex_numbers(tmp_path):
    assert "complex64" in refused_frame(
        write_geotiff(tmp_path / "a.tif", RAW.astype(np.complex64), TIME, units="mm/h"), header_too=False
    )


def test_a_band_of_several_by_its_number(tmp_path):
    path = write_geotiff(tmp_path / "a.tif", RAW.astype(np.float32), TIME)
    with rasterio.open(path) as one:
        profile, tags = one.profile | {"count": 2}, one.tags() | {"units": "mm/h"}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.stack([RAW, 2 * RAW]))
        file.update_tags(**tags)
    assert read_frame(path, Z_R, hints=FileHints(variable="2")).rain_rate[2, 3] == 72


def test_which_of_two_times_in_a_name_is_for_the_user_to_say(tmp_path):
    path = write_geotiff(tmp_path / "rain_202102282310_202102282355.tif", RAW.astype(np.float32), None, units="mm/h")
    assert "several times in its name" in refused_frame(path, header_too=False)
    assert read_time(path, FileHints(time_pattern="%Y%m%d%H%M.tif")) == np.datetime64(TIME)


@pytest.mark.parametrize("name", ["nowcast_{}.tif", "rain_{}+045.tif", "rain_{}Z+0100.tif", "FCST{}.tif"])
def test_a_name_that_says_it_is_a_forecast_has_no_time_of_an_observation(tmp_path, name):
    path = write_geotiff(tmp_path / name.format("202102282355"), RAW.astype(np.float32), None, units="mm/h")
    assert "a nowcast, or a time with an offset, by its name" in refused_frame(path)
    assert read_time(path, FileHints(time_pattern="%Y%m%d%H%M")) == np.datetime64(TIME)


def test_geotiff_of_a_period(tmp_path):
    tags = {"start_time": "2021-02-28T23:40:00Z", "end_time": "2021-02-28T23:55:00Z"}
    frame = read_frame(write_geotiff(tmp_path / "a.tif", RAW.astype(np.float32), None, units="mm", **tags), Z_R)
    assert (frame.time, frame.time_is, frame.interval_s) == (np.datetime64(TIME), "end", 900)


def test_what_a_geotiff_does_not_say_the_user_may(tmp_path):
    path = write_geotiff(tmp_path / "rain 28.02.2021 2355.tif", RAW * np.float32(10), None, crs=None)
    for known, reason in (
        ({}, "no `unit` for it"),
        ({"unit": "0.1 mm"}, "no `time_pattern`"),
        ({"unit": "0.1 mm", "time_pattern": "%d.%m.%Y %H%M"}, "no `interval_s`"),
        ({"unit": "0.1 mm", "time_pattern": "%d.%m.%Y %H%M", "interval_s": 600}, "no `crs`"),
    ):
        with pytest.raises(UnreadableFile, match=reason):
            read_frame(path, Z_R, hints=FileHints(**known))
    frame = read_frame(path, Z_R, hints=FileHints(**known, crs="EPSG:3035", time_is="start"))
    assert frame.rain_rate[2, 3] == pytest.approx(36 * 6)
    assert (frame.time, frame.time_is, frame.interval_s) == (np.datetime64(TIME), "start", 600)
    assert frame.grid.crs.to_epsg() == 3035
    with pytest.raises(UnreadableFile, match="has no time like"):
        read_frame(path, Z_R, hints=FileHints(**known | {"time_pattern": "%Y%m%d%H%M"}, crs="EPSG:3035"))


def test_an_ascii_grid_as_dwd_has_it(tmp_path):
    """Tenths of mm in an hour; all but the numbers is for the user to say."""
    rows = "\n".join(" ".join(map(str, row)) for row in np.where(RAW == 5, -1, RAW.astype(int)))
    path = tmp_path / "RW_20210228-2355.asc"
    path.write_text(
        f"ncols 16\nnrows 12\nxllcorner -523462\nyllcorner -4658645\ncellsize 1000\nNODATA_value -1\n{rows}\n"
    )
    crs = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040"
    frame = read_frame(path, Z_R, hints=FileHints(unit="0.1 mm", interval_s=3600, crs=crs))
    assert np.isnan(frame.rain_rate[0, 4])
    assert frame.rain_rate[2, 3] == pytest.approx(3.6)
    assert (frame.grid.x[0], frame.grid.y[-1]) == (-522962, -4658145)
    assert frame.time == np.datetime64(TIME)
