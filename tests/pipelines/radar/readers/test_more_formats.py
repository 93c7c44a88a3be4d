"""RADOLAN, GRIB2, GeoTIFF, MeteoNet, DWD's HDF5, classic netCDF and Zarr: values and places known from outside."""

import gzip
import pickle
import re
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from radar_files import cf_dataset, lonlat, write_geotiff, write_meteonet, write_mrms, write_odim, write_radolan

from pipelines.common.errors import UnreadableFile
from pipelines.params.radar import FileHints
from pipelines.radar.readers.read import radar_files, read_frame, read_headers, read_time

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)
RAW = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)


def refused(path: Path, number: int | None = None) -> str:
    with pytest.raises(UnreadableFile) as error:
        read_frame(path, Z_R, number)
    return error.value.reason


# Corners of the grids in DWD's description of the format, degrees: west and north edge, east and south edge.
CORNERS = {
    (900, 900): {(0, 0): (2.0715, 54.5877), (1, 1): (14.6209, 47.0705), (1, 0): (3.5889, 46.9526)},
    (1100, 900): {(0, 0): (3.0889, 55.5482), (1, 1): (15.4801, 46.1827), (1, 0): (4.6759, 46.1929)},
    (1500, 1400): {(1, 0): (2.3419, 43.9336)},
    (1200, 1100): {(0, 0): (1.4633015, 55.8620871), (0, 1): (18.7316165, 55.8454386)},
}


@pytest.mark.parametrize(
    ("product", "shape", "precision", "minutes"),
    [
        ("RW", (900, 900), "E-01", 60),
        ("RY", (900, 900), "E-02", 5),
        ("YW", (1100, 900), "E-02", 5),
        ("SF", (900, 900), "E-01", 1440),
        ("EY", (1500, 1400), "E-02", 5),
        ("RV", (1200, 1100), "E-02", 5),
    ],
)
def test_radolan(tmp_path, product, shape, precision, minutes):
    raw = np.zeros(shape, np.uint16)
    raw[0, 0], raw[0, 1], raw[0, 2], raw[3, 5] = 0x29C4, 0x8000 | 30, 0x1000 | 50, 123
    path = write_radolan(
        tmp_path / "raa01-10000-2102282355-dwd---bin.gz",
        raw,
        TIME,
        product=product,
        precision=precision,
        minutes=minutes,
        # DE1200 came with the ellipsoid, and with a lead time.
        version=5 if shape == (1200, 1100) else 3,
        lead=0 if product == "RV" else None,
    )
    frame = read_frame(path, Z_R)
    step = 0.1 if precision == "E-01" else 0.01
    assert np.isnan(frame.rain_rate[-1, :2]).all()  # no data, and clutter
    assert np.isnan(frame.rain_rate).sum() == 2
    assert frame.rain_rate[-1, 2] == pytest.approx(50 * step * 60 / minutes)  # interpolated counts
    assert frame.rain_rate[-4, 5] == pytest.approx(123 * step * 60 / minutes)
    assert (frame.time, frame.time_is, frame.interval_s) == (np.datetime64(TIME), "end", 60 * minutes)
    assert read_headers(path)[0][0].radars == {"boo": True, "ros": True}
    to_lonlat = pyproj.Proj(frame.grid.crs)
    x, y = (
        np.append(axis - step / 2, axis[-1] + step / 2) for axis, step in ((frame.grid.x, 1000), (frame.grid.y, -1000))
    )
    for (row, column), corner in CORNERS[shape].items():
        assert to_lonlat(x[-column], y[-row], inverse=True) == pytest.approx(corner, abs=1e-4)


@pytest.mark.parametrize(("product", "shape"), [("RX", (900, 900)), ("WX", (1100, 900)), ("EX", (1500, 1400))])
def test_radolan_reflectivity(tmp_path, product, shape):
    """Steps of half a dBZ from -32.5; 249 is clutter, 250 no data."""
    raw = np.zeros(shape, np.uint8)
    raw[0, :6] = 249, 250, 255, 145, 64, 65  # 40, -0.5 and 0 dBZ
    path = write_radolan(tmp_path / f"raa01-{product.lower()}_10000-2102282355-dwd---bin", raw, TIME, product=product,
                         precision="E+00")  # fmt: skip
    frame = read_frame(path, Z_R)
    assert np.isnan(frame.rain_rate[-1, :3]).all()
    assert frame.rain_rate[-1, 3] == pytest.approx(11.53, abs=0.005)
    assert frame.rain_rate[-1, 4] == 0
    assert frame.rain_rate[-1, 5] == pytest.approx(0.0365, abs=0.0001)
    assert (frame.rain_rate == 0).sum() == shape[0] * shape[1] - 5
    assert (frame.time, frame.time_is, frame.z_r) == (np.datetime64(TIME), "instant", Z_R)


def test_radolan_sum_of_days(tmp_path):
    raw = np.full((900, 900), 100, np.uint16)
    path = write_radolan(tmp_path / "a", raw, TIME, product="W1", precision="E-01", minutes=5, unit=1)
    frame = read_frame(path, Z_R)
    assert frame.interval_s == 5 * 86400
    assert frame.rain_rate[0, 0] == pytest.approx(10 / 120)


@pytest.mark.parametrize("product", ["RV", "RQ"])
def test_radolan_nowcasts_are_no_observations(tmp_path, product):
    raw = np.ones((900, 900), np.uint16)
    path = write_radolan(tmp_path / "a", raw, TIME, product=product, lead=45)
    (header,), _ = read_headers(path)
    assert header.time == np.datetime64("2021-03-01T00:40:00")
    assert refused(path) == header.refusal == "a nowcast of 23:55 for 00:40 UTC, 2021-03-01"


def test_radolan_refused(tmp_path):
    raw = np.zeros((900, 900), np.uint16)
    good = write_radolan(tmp_path / "a", raw, TIME).read_bytes()
    bad = tmp_path / "b"
    for content, reason in (
        (good[:-2], "its header says"),
        (good[:60], "cut short"),
        (b"RE" + good[2:], "product RE"),
        (b"HG" + good[2:], "product HG"),
        (good.replace(b"PR E-02", b"PR E-99"), "no PR"),
        (good.replace(b"GP 900x 900", b"GP \xff00x 900"), "grid of 0×0"),
        (b"RX" + good[2:], "its header says"),
        (good.replace(b"GP 900x 900", b"GP 460x 460"), "460×460"),
        (good.replace(b"282355", b"312355"), "no time"),
    ):
        bad.write_bytes(content)
        assert reason in refused(bad)
    named = write_radolan(tmp_path / "raa01-yw_10000-2102282350-dwd---bin", raw, TIME)
    assert read_time(named) == np.datetime64(TIME)  # its start
    assert "its name says" in refused(named.rename(tmp_path / "raa01-yw_10000-2002282355-dwd---bin"))


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
    assert refused(rate) == "a nowcast of 23:55 for 00:40 UTC, 2021-03-01"
    amount = write_mrms(tmp_path / "b", values, TIME, pds=f"1 8 2 {HOUR_TO.removeprefix('0 ')}", template=8, **model)
    assert refused(amount) == "a nowcast of 23:55 for 00:55 UTC, 2021-03-01"


@pytest.mark.parametrize(
    ("discipline", "parameter", "name"),
    [(0, "2 2", "UGRD"), (0, "1 11", "SNOD"), (0, "19 0", "VIS"), (209, "3 28", "MESH"), (209, "12 4", "STREAMFLOW")],
)
def test_grib_of_a_speed_or_a_depth_is_no_rain(tmp_path, discipline, parameter, name):
    """m/s and mm are units of rain as well."""
    values = np.full((12, 16), 0.1, np.float32)
    path = write_mrms(tmp_path / "a", values, TIME, discipline=discipline, pds=f"{parameter} {MRMS}")
    assert re.search(rf"{name} .*, which isn't of precipitation", refused(path))


def test_what_grib_does_not_say_of_an_amount_the_user_may(tmp_path):
    path = write_mrms(tmp_path / "a", np.full((12, 16), 2, np.float32), TIME, discipline=0, pds=f"1 8 {MRMS}")
    assert "no `interval_s`" in refused(path)
    frame = read_frame(path, Z_R, hints=FileHints(interval_s=600, time_is="start"))
    assert (frame.time_is, frame.interval_s, frame.rain_rate[0, 0]) == ("start", 600, 12)


def test_grib_amount_of_an_observed_period(tmp_path):
    """The same message where it says that radars observed it."""
    values = np.full((12, 16), 2, np.float32)
    path = write_mrms(tmp_path / "a", values, TIME, discipline=0, template=8, pds=f"1 8 8 {HOUR_TO.removeprefix('0 ')}")
    frame = read_frame(path, Z_R)
    assert (frame.time, frame.interval_s) == (np.datetime64("2021-03-01T00:55:00"), 3600)
    assert frame.rain_rate[0, 0] == pytest.approx(2)


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
    assert "no unit" in refused(write_geotiff(tmp_path / "a.tif", values, TIME))
    assert "unit 'K'" in refused(write_geotiff(tmp_path / "b.tif", values, TIME, units="K"))
    # TIFF's own time is when the file was made.
    made = {"units": "mm/h", "TIFFTAG_DATETIME": "2021:02:28 23:55:00"}
    assert "no time" in refused(write_geotiff(tmp_path / "c.tif", values, None, **made))
    assert "over how long" in refused(write_geotiff(tmp_path / "d.tif", values, TIME, units="mm"))
    assert "its name says" in refused(write_geotiff(tmp_path / "x_202002282355.tif", values, TIME, units="mm/h"))


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
    assert "valid_time" in refused(path) or "no time" in refused(path)


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
        assert "a nowcast" in refused(write_geotiff(tmp_path / "a.tif", values, TIME, units="mm/h", **tags))
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
    assert "complex64" in refused(write_geotiff(tmp_path / "a.tif", RAW.astype(np.complex64), TIME, units="mm/h"))


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
    assert "several times in its name" in refused(path)
    assert read_time(path, FileHints(time_pattern="%Y%m%d%H%M.tif")) == np.datetime64(TIME)


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


def test_meteonet(tmp_path):
    dates = [TIME, TIME + timedelta(minutes=30)]
    data = np.full((2, 515, 784), -1, np.int16)
    data[1, 2, 3] = 50
    path = write_meteonet(tmp_path / "rainfall_SE_2021_02.3.npz", data, dates)
    headers, _ = read_headers(path)
    assert [header.time for header in headers] == [np.datetime64(date, "s") for date in dates]
    frame = read_frame(path, Z_R, 1)
    assert frame.rain_rate[2, 3] == pytest.approx(6.0)  # 0.5 mm in 5 minutes
    assert np.isnan(frame.rain_rate).sum() == 515 * 784 - 1
    assert frame.source == "rainfall_SE_2021_02.3.npz#1"
    assert (frame.grid.x[0], frame.grid.y[0]) == pytest.approx((2.0, 46.25))
    assert refused(path, 0) == "no pixel is valid"
    assert "2 frames in one file" in refused(path)
    dbz = np.full((1, 565, 784), 40, np.int16)
    dbz[0, 0, 0] = 255
    frame = read_frame(write_meteonet(tmp_path / "reflectivity_old_NW_2021_02.3.npz", dbz, dates[:1]), Z_R)
    assert np.isnan(frame.rain_rate[0, 0])
    assert frame.rain_rate[1, 1] == pytest.approx(11.53, abs=0.005)
    assert "a name that starts with" in refused(path.rename(tmp_path / "other.npz"), 0)


class Harmful:
    def __reduce__(self):
        return (eval, ("open('/tmp/harm', 'w')",))


def test_meteonet_runs_nothing(tmp_path):
    path = write_meteonet(tmp_path / "rainfall_SE_2021_02.3.npz", np.zeros((1, 515, 784), np.int16), [TIME])
    content = {name: zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()}
    front = content["dates.npy"].index(b"\n") + 1
    content["dates.npy"] = content["dates.npy"][:front] + pickle.dumps(Harmful())
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    assert "builtins.eval" in refused(path, 0)


def test_hdf5_of_dwd_is_odim(tmp_path):
    """The grid DE1200 of its radar composites, an ellipsoidal one, at its place."""
    projdef = (
        "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +a=6378137 +b=6356752.3142451802 +no_defs "
        "+x_0=543196.83521776402 +y_0=3622588.8619310018"
    )
    raw = np.full((1200, 1100), 50, np.uint16)
    path = write_odim(
        tmp_path / "composite_rv_20210228_2355-hd5", raw, TIME, quantity="ACRR", gain=0.01, offset=0.0, nodata=65535.0,
        projdef=projdef, left=-500.0, top=500.0,
    )  # fmt: skip
    frame = read_frame(path, Z_R)
    assert frame.rain_rate[0, 0] == pytest.approx(0.5 * 12)
    assert frame.time == np.datetime64(TIME)
    to_lonlat, grid = pyproj.Proj(projdef), frame.grid
    # Outer corners of DE1200, as DWD gives them.
    assert to_lonlat(grid.x[0] - 500, grid.y[0] + 500, inverse=True) == pytest.approx((1.4633015, 55.8620871), abs=1e-6)
    assert to_lonlat(grid.x[-1] + 500, grid.y[0] + 500, inverse=True) == pytest.approx(
        (18.7316165, 55.8454386), abs=1e-6
    )


@pytest.mark.parametrize("form", ["NETCDF3_64BIT", "NETCDF4", "zarr"])
def test_cf_of_several_times_on_latitudes_and_longitudes(tmp_path, form):
    path = tmp_path / "a"
    if form == "zarr":
        cf_dataset().to_zarr(path, consolidated=False)
    else:
        cf_dataset().to_netcdf(path, format=form)
    (found,) = radar_files(tmp_path, stores=True)
    assert found == path
    headers, _ = read_headers(path)
    assert [header.time for header in headers] == [np.datetime64(TIME + timedelta(minutes=5 * i)) for i in range(3)]
    frame = read_frame(path, Z_R, 2)
    assert np.isnan(frame.rain_rate[11, 0])
    assert frame.rain_rate[0, 3] == 2 * 192 + 11 * 16 + 3
    assert frame.grid.crs.is_geographic
    assert frame.grid.y[0] == pytest.approx(40.11)
    assert frame.source == "a#2"


def test_cf_refused(tmp_path):
    path = tmp_path / "a.nc"
    dataset = cf_dataset(1)
    dataset["rr"].attrs |= {"standard_name": "rainfall_amount", "units": "mm"}
    dataset.to_netcdf(path)
    assert "has no bounds" in refused(path)
    cf_dataset(1).assign_coords(lat=("lat", np.arange(12.0), {"standard_name": "latitude", "units": "m"})).to_netcdf(
        path
    )
    assert "lat is in m, not in degrees" in refused(path)
