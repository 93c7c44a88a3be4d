"""ODIM_H5 as producers write it: attributes at any level, what isn't needed left out, and whose times aren't now."""

import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pyproj
import pytest
from radar_files import (
    LAEA,
    edited,
    marshall_palmer,
    write_odim,
)
from refused import refused_frame

from pipelines.common.errors import UnreadableFile
from pipelines.params.radar import FileHints
from pipelines.radar.readers.read import read_frame, read_headers, read_time

TIME = datetime(2021, 2, 28, 12, 0)
LATE = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)
RAW = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)
RAIN_30_DBZ = (1000 / 200) ** (1 / 1.6)  # mm/h: Z is 1000 mm⁶ m⁻³
DATA, DATASET = "dataset1/data1", "dataset1"


def pixels(echo: tuple[int, int] = (2, 3)) -> np.ndarray:
    """No echo but 30 dBZ in one place, and the western column not seen."""
    raw = np.zeros((8, 10), np.uint8)
    raw[echo] = 124
    raw[:, 0] = 255
    return raw


def changed(path: Path, change: Callable[[h5py.File], None], **options) -> Path:
    write_odim(path, pixels(), TIME, **options)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def move(names: tuple[str, ...], source: str, target: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        for name in names:
            file.require_group(target).attrs[name] = file[source].attrs[name]
            del file[source].attrs[name]

    return change


def drop(*names: str) -> Callable[[h5py.File], None]:
    """Delete groups, and attributes that are named as GROUP.NAME."""

    def change(file: h5py.File) -> None:
        for name in names:
            group, _, attribute = name.partition(".")
            if attribute:
                del file[group].attrs[attribute]
            else:
                del file[group]

    return change


def assert_is_whole(path: Path) -> None:
    frame = read_frame(path, Z_R)
    assert frame.time == np.datetime64(TIME)
    assert np.isnan(frame.rain_rate[:, 0]).all()
    assert frame.rain_rate[2, 3] == pytest.approx(RAIN_30_DBZ)
    assert np.count_nonzero(frame.rain_rate == 0) == 8 * 9 - 1
    assert frame.grid.spacing == pytest.approx((1000.0, 1000.0), rel=1e-9)
    assert (frame.grid.x[0], frame.grid.y[0]) == pytest.approx((500.0, -500.0), rel=1e-9)


SCALE = ("gain", "offset", "nodata", "undetect")
PERIOD = ("startdate", "starttime", "enddate", "endtime")


ELSEWHERE = {
    "scale in the root": move(SCALE, f"{DATA}/what", "what"),
    "scale in the dataset": move(SCALE, f"{DATA}/what", f"{DATASET}/what"),
    "scale of the file itself": move(SCALE, f"{DATA}/what", "/"),
    "quantity of the data group": move(("quantity",), f"{DATA}/what", DATA),
    "quantity in the root": move(("quantity", *SCALE), f"{DATA}/what", "what"),
    "period beside the data": move(PERIOD, f"{DATASET}/what", f"{DATA}/what"),
    "where of the dataset": move(("projdef", "LL_lon", "LL_lat", "UR_lon", "UR_lat"), "where", f"{DATASET}/where"),
    "no period": drop(f"{DATASET}/what"),
    "no end": drop(f"{DATASET}/what.enddate", f"{DATASET}/what.endtime"),
    "no size": drop("where.xsize", "where.ysize"),
    "no pixel size": drop("where.xscale", "where.yscale"),
    "two corners": drop("where.UL_lon", "where.LR_lat"),
    "no Conventions": drop("/.Conventions"),
}


@pytest.mark.parametrize("change", ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_stands_elsewhere_or_not_at_all(tmp_path: Path, change: Callable[[h5py.File], None]) -> None:
    assert_is_whole(changed(tmp_path / "a.h5", change))


def test_the_nearest_of_several_scales_counts(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["what"].attrs.update(gain=1.0, offset=0.0, nodata=0.0)
        file["dataset1/what"].attrs["gain"] = 2.0

    assert_is_whole(changed(tmp_path / "a.h5", change))


@pytest.mark.parametrize("name", ["gain", "offset"])
@pytest.mark.parametrize("quantity", ["DBZH", "ACRR"])
def test_whole_numbers_without_a_scale_are_refused_by_their_header(tmp_path: Path, name: str, quantity: str) -> None:
    path = write_odim(tmp_path / "a.h5", pixels(), TIME, quantity=quantity, **{name: None})
    with pytest.raises(UnreadableFile, match=f"no {name} for {quantity} in whole numbers"):
        read_time(path)


def test_numbers_of_32_bits_need_no_scale(tmp_path: Path) -> None:
    raw = np.full((8, 10), 30.0, np.float32)
    frame = read_frame(write_odim(tmp_path / "a.h5", raw, TIME, gain=None, offset=None, undetect=-32.0), Z_R)
    np.testing.assert_allclose(frame.rain_rate, RAIN_30_DBZ, rtol=1e-6)


def test_sentinels_in_another_width_as_text_and_two_of_them(tmp_path: Path) -> None:
    raw = np.full((8, 10), 30.0, np.float32)
    raw[0], raw[1], raw[2] = -9999.9, -8888.8, -7777.7
    scale = {"gain": 1.0, "offset": 0.0}
    path = write_odim(tmp_path / "a.h5", raw, TIME, **scale, nodata=-9999.9, undetect=-8888.8)
    with h5py.File(path, "r+") as file:
        what = file[f"{DATA}/what"].attrs
        what["nodata"], what["undetect"], what["gain"] = [-9999.9, -7777.7], np.bytes_("-8888.8"), np.bytes_("1.0")
    rain = read_frame(path, Z_R).rain_rate
    assert np.isnan(rain[[0, 2]]).all()
    assert (rain[1] == 0).all()
    assert rain[3, 0] == pytest.approx(RAIN_30_DBZ)


def test_reflectivity_that_no_sentinel_explains_is_unknown_not_dry(tmp_path: Path) -> None:
    raw = np.full((8, 10), 30.0)
    raw[0, :6] = -8888000.0, -40.1, -40.0, -32.5, -30.0, -np.inf
    path = write_odim(tmp_path / "a.h5", raw, TIME, gain=1.0, offset=0.0, nodata=None, undetect=None)
    rain = read_frame(path, Z_R).rain_rate[0]
    assert np.isnan(rain[[0, 1, 5]]).all()
    assert (rain[[2, 3, 4]] == 0).all()


@pytest.mark.parametrize("scale", [1000.0, 1.0])
def test_a_projection_in_kilometres_becomes_one_in_metres(tmp_path: Path, scale: float) -> None:
    def change(file: h5py.File) -> None:
        file["where"].attrs["projdef"] = np.bytes_(LAEA.replace("+units=m", "+units=km"))
        file["where"].attrs["xscale"] = file["where"].attrs["yscale"] = scale

    path = changed(tmp_path / "a.h5", change)
    assert_is_whole(path)
    grid = read_frame(path, Z_R).grid
    assert grid.crs.axis_info[0].unit_name == "metre"
    lon, lat = grid.lonlat()
    assert (lon[2, 3], lat[2, 3]) == pytest.approx(pyproj.Proj(LAEA)(3500.0, -2500.0, inverse=True))


def test_degrees_by_an_epsg_code_with_scales_in_metres(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        corners = {"LL_lon": 9.0, "LL_lat": 50.0, "UR_lon": 9.1, "UR_lat": 50.08}
        file["where"].attrs.update(projdef=np.bytes_("EPSG:4326"), **corners)

    grid = read_frame(changed(tmp_path / "a.h5", change), Z_R).grid
    assert grid.crs.is_geographic
    assert (grid.x[0], grid.y[0]) == pytest.approx((9.005, 50.075))


def test_an_earth_in_kilometres(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["where"].attrs["projdef"] = np.bytes_(LAEA.replace("+ellps=WGS84", "+a=6378.137 +b=6356.752314"))

    assert_is_whole(changed(tmp_path / "a.h5", change))


def test_a_pole_that_is_turned(tmp_path: Path) -> None:
    """The corners of pixels of 0.01° around the turned pole, in true degrees as ODIM wants them."""
    pole = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371000"
    to_lonlat = pyproj.Transformer.from_crs(pole, "+proj=longlat +R=6371000", always_xy=True).transform

    def change(file: h5py.File) -> None:
        where = file["where"].attrs
        where["projdef"] = np.bytes_(pole)
        (where["LL_lon"], where["LL_lat"]), (where["UR_lon"], where["UR_lat"]) = to_lonlat(1, 2), to_lonlat(1.1, 2.08)

    frame = read_frame(changed(tmp_path / "a.h5", change), Z_R)
    assert frame.grid.spacing == pytest.approx((0.01, 0.01))
    lon, lat = frame.grid.lonlat()
    assert (lon[2, 3], lat[2, 3]) == pytest.approx(to_lonlat(1.035, 2.055), abs=1e-6)


def with_images(path: Path, times: list[datetime], **options) -> Path:
    """One file of `TIME` with a dataset for each time, in which it starts and ends."""
    write_odim(path, pixels(), TIME, interval=timedelta(0), **options)
    with h5py.File(path, "r+") as file:
        for number, time in enumerate(times, 1):
            if number > 1:
                file.copy("dataset1", f"dataset{number}")
                file[f"dataset{number}/data1/data"][2, 3] = 124 - number
            what = file[f"dataset{number}/what"].attrs
            for name in ("start", "end"):
                what[f"{name}date"] = np.bytes_(time.strftime("%Y%m%d"))
                what[f"{name}time"] = np.bytes_(time.strftime("%H%M%S"))
    return path


@pytest.mark.parametrize("words", ["+ellps=bessel +towgs84=598.1,73.7,418.2", "+ellps=WGS84 +pm=paris"])
def test_corners_are_on_the_projections_own_ellipsoid(tmp_path: Path, words: str) -> None:
    projdef = f"+proj=laea +lat_0=55 +lon_0=10 {words}"
    grid = read_frame(write_odim(tmp_path / "a.h5", pixels(), TIME, projdef=projdef, left=1e5, top=2e5), Z_R).grid
    assert (grid.x[0], grid.y[0]) == pytest.approx((100500.0, 199500.0), abs=2e-3)


def test_a_corner_that_is_nowhere_is_named(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["where"].attrs["LL_lat"] = 20210228

    with pytest.raises(UnreadableFile, match=r"the corners \(10.0, 20210228.0\) and .* don't lie in its projection"):
        read_time(changed(tmp_path / "a.h5", change))


def test_a_nowcast_is_refused_by_name(tmp_path: Path) -> None:
    path = with_images(tmp_path / "a.h5", [TIME + timedelta(minutes=45)])
    with pytest.raises(UnreadableFile, match="a nowcast of 12:00 for 12:45 UTC"):
        read_frame(path, Z_R)
    with pytest.raises(UnreadableFile, match="a nowcast of 12:00 for 12:45 UTC"):
        read_time(path)


@pytest.mark.parametrize(
    ("group", "attributes", "refusal"),
    [
        ("dataset1/what", {"prodname": np.bytes_("Nowcast +45")}, "its prodname is Nowcast +45"),
        ("dataset1/how", {"leadtime": 45}, "its leadtime is 45"),
        ("how", {"Issue_Time": np.bytes_("2021-02-28T11:15:00Z")}, "a nowcast of 11:15 for 12:00 UTC, 2021-02-28"),
    ],
)
def test_a_nowcast_by_attributes(tmp_path: Path, group: str, attributes: dict, refusal: str) -> None:
    path = changed(tmp_path / "a.h5", lambda file: file.require_group(group).attrs.update(attributes))
    with pytest.raises(UnreadableFile, match=re.escape(refusal)):
        read_time(path)


def test_of_several_images_those_that_are_forecasts_are_refused(tmp_path: Path) -> None:
    path = with_images(tmp_path / "a.h5", [TIME + timedelta(minutes=5 * step) for step in range(3)])
    headers, _ = read_headers(path)
    assert [header.refusal and header.refusal[:26] for header in headers] == [
        None,
        "a nowcast of 12:00 for 12:",
        "a nowcast of 12:00 for 12:",
    ]
    assert read_time(path) == np.datetime64(TIME)
    assert read_frame(path, Z_R).rain_rate[2, 3] == pytest.approx(RAIN_30_DBZ)


def test_a_second_image_of_the_same_time_is_refused(tmp_path: Path) -> None:
    headers, _ = read_headers(with_images(tmp_path / "a.h5", [TIME, TIME]))
    assert headers[0].refusal is None
    assert headers[1].refusal is not None
    assert headers[1].refusal.startswith("another DBZH of 2021-02-28T12:00:00: /dataset2/data1")


@pytest.mark.parametrize(("seconds", "taken"), [(13, True), (-300, True), (-900, True), (300, False), (-1200, False)])
def test_scans_begin_a_little_late_and_are_not_old(tmp_path: Path, seconds: int, taken: bool) -> None:
    (header,), _ = read_headers(with_images(tmp_path / "a.h5", [TIME + timedelta(seconds=seconds)]))
    assert (header.refusal is None) == taken


def test_an_amount_that_ends_after_the_nominal_time_is_a_forecast(tmp_path: Path) -> None:
    path = write_odim(tmp_path / "a.h5", pixels(), TIME, quantity="ACRR", gain=0.1, offset=0.0)
    assert read_headers(path)[0][0].refusal is None
    with h5py.File(path, "r+") as file:
        file["what"].attrs["time"] = np.bytes_("115500")
    with pytest.raises(UnreadableFile, match="a nowcast of 11:55 for 12:00"):
        read_time(path)


@pytest.mark.parametrize(
    ("left_out", "hints", "time", "time_is"),
    [
        (("end",), {}, TIME, "end"),  # it started at 11:55
        (("start",), {}, TIME, "end"),
        (("start", "end"), {}, TIME, "end"),
        (("start", "end"), {"time_is": "start"}, TIME, "start"),
    ],
)
def test_an_amount_without_its_start_or_end(tmp_path, left_out, hints, time, time_is) -> None:
    path = write_odim(tmp_path / "a.h5", pixels(), TIME, quantity="ACRR", gain=0.1, offset=0.0)
    with h5py.File(path, "r+") as file:
        for name in left_out:
            del file["dataset1/what"].attrs[f"{name}date"], file["dataset1/what"].attrs[f"{name}time"]
    (header,), _ = read_headers(path, FileHints(interval_s=300, **hints))
    assert (header.time, header.time_is, header.interval_s) == (np.datetime64(time), time_is, 300)


def test_the_user_names_a_quantity_and_what_the_file_does_not_say(tmp_path: Path) -> None:
    path = write_odim(tmp_path / "a.h5", pixels(), TIME, nodata=None)
    with h5py.File(path, "r+") as file:
        file.copy("dataset1/data1", "dataset1/data2")
        file["dataset1/data2/what"].attrs["quantity"] = np.bytes_("TH")
        file["dataset1/data2/data"][2, 3] = 104
    rain = read_frame(path, Z_R, hints=FileHints(variable="TH", nodata=255.0)).rain_rate
    assert rain[2, 3] == pytest.approx((100 / 200) ** (1 / 1.6))
    assert np.isnan(rain[:, 0]).all()
    with pytest.raises(UnreadableFile, match=r"nodata: params\.yaml says"):
        read_time(write_odim(tmp_path / "b.h5", pixels(), TIME), FileHints(nodata=254.0))
    with pytest.raises(UnreadableFile, match="quantity DBZH, TH, and none of RATE"):
        read_time(path, FileHints(variable="RATE"))


def with_quality(path: Path, *, task: str | None = None, quantity: str | None = "QIND", group: str = DATA) -> Path:
    """A quality index of 0.2 in a column of echo and 0.9 elsewhere, none in the last; in 8 bits, /250."""
    write_odim(path, np.full((8, 10), 124, np.uint8), TIME)
    with h5py.File(path, "r+") as file:
        del file[f"{DATA}/quality1"]
        quality = file.create_group(f"{group}/quality1")
        raw = np.full((8, 10), 225, np.uint8)
        raw[:, 4], raw[:, 9] = 50, 255
        quality["data"] = raw
        what = quality.create_group("what").attrs
        what["gain"], what["offset"], what["nodata"] = 0.004, 0.0, 255.0
        if quantity:
            what["quantity"] = np.bytes_(quantity)
        if task:
            quality.create_group("how").attrs["task"] = np.bytes_(task)
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"group": DATASET}, {"quantity": None, "task": "pl.imgw.quality.qi_total"}],
    ids=["beside the data", "in the dataset", "OPERA"],
)
def test_pixels_of_low_quality_are_unknown_if_the_user_asks(tmp_path: Path, options: dict[str, str]) -> None:
    path = with_quality(tmp_path / "a.h5", **options)
    assert np.isfinite(read_frame(path, Z_R).rain_rate).all()
    rain = read_frame(path, Z_R, hints=FileHints(min_quality=0.5)).rain_rate
    assert np.isnan(rain[:, 4]).all()
    # A pixel without an index stays: OPERA gives none where there is no echo.
    assert np.isfinite(np.delete(rain, 4, axis=1)).all()


def test_a_field_that_is_no_quality_index_masks_nothing(tmp_path: Path) -> None:
    path = with_quality(tmp_path / "a.h5", quantity=None, task="se.smhi.composite.distance.radar")
    assert np.isfinite(read_frame(path, Z_R, hints=FileHints(min_quality=0.5)).rain_rate).all()


@pytest.mark.parametrize("nodes", ["'dkste','dkrom'", "dkste, dkrom", "dkrom,dkste,"])
def test_names_of_the_radars(tmp_path: Path, nodes: str) -> None:
    def change(file: h5py.File) -> None:
        file.create_group("how").attrs["nodes"] = np.bytes_(nodes)

    (header,), _ = read_headers(changed(tmp_path / "a.h5", change))
    assert header.radars == {"dkrom": True, "dkste": True}


ODD = {
    "a whole number": 20210228,
    "empty": h5py.Empty("f4"),
    "empty text": np.bytes_(""),
    "two numbers": np.array([1.0, 2.0]),
    "no numbers": np.array([]),
    "bytes of no text": np.bytes_(b"\xff\xfe"),
    "a word": "many",
    "not a number": np.nan,
    "complex": 1j,
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_an_odd_attribute_is_refused_in_words_or_changes_nothing_that_it_doesnt_say(
    tmp_path: Path, value: object
) -> None:
    good = read_frame(write_odim(tmp_path / "good.h5", pixels(), TIME), Z_R)
    with h5py.File(tmp_path / "good.h5") as file:
        found = [(group, name) for group in ("what", "where", f"{DATASET}/what") for name in file[group].attrs]
    for group, name in found:
        path = write_odim(tmp_path / "odd.h5", pixels(), TIME)
        with h5py.File(path, "r+") as file:
            file[group].attrs[name] = value
        try:
            frame = read_frame(path, Z_R)
        except UnreadableFile as error:
            assert name in error.reason or group == "where"  # or of the projection and corners together
            continue
        assert frame.time == good.time
        assert frame.grid == good.grid
        np.testing.assert_array_equal(frame.rain_rate, good.rain_rate)


def test_odim_reflectivity(tmp_path, raw):
    raw[0, 0], raw[0, 1], raw[0, 2] = 255, 0, 63  # no data, undetect, -0.5 dBZ
    raw[5, 7], raw[8, 3] = 144, 100  # 40 and 18 dBZ
    path = write_odim(tmp_path / "any.name", raw, LATE)
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
    grid = read_frame(write_odim(tmp_path / "a.h5", raw, LATE, left=-3000.0, top=5000.0, scale=500.0), Z_R).grid
    np.testing.assert_allclose(grid.x, -3000 + 500 * (np.arange(16) + 0.5), atol=1e-3)
    np.testing.assert_allclose(grid.y, 5000 - 500 * (np.arange(12) + 0.5), atol=1e-3)
    lon, lat = grid.lonlat()
    expected = pyproj.Proj(LAEA)(-2750.0, 4750.0, inverse=True)
    assert (lon[0, 0], lat[0, 0]) == pytest.approx(expected, abs=1e-7)


def test_odim_latitude_longitude_grid_stays_one(tmp_path, raw):
    path = write_odim(tmp_path / "a.h5", raw, LATE, projdef="+proj=longlat +datum=WGS84", left=5, top=50, scale=0.01)
    grid = read_frame(path, Z_R).grid
    assert grid.crs.is_geographic
    assert grid.x[[0, -1]] == pytest.approx([5.005, 5.155])
    assert grid.y[[0, -1]] == pytest.approx([49.995, 49.885])


def test_odim_without_gain_offset_and_undetect(tmp_path, raw):
    values = raw / 4.0
    values[0, 0] = -9999000.0
    path = write_odim(tmp_path / "a.h5", values, LATE, gain=None, offset=None, nodata=-9999000.0, undetect=None)
    rain_rate = read_frame(path, Z_R).rain_rate
    assert np.isnan(rain_rate[0, 0])
    assert rain_rate[1, 1] == pytest.approx(marshall_palmer(values[1, 1]), rel=1e-5)


def test_odim_what_of_the_dataset_counts_for_its_data(tmp_path, raw):
    in_data = read_frame(write_odim(tmp_path / "a.h5", raw, LATE), Z_R)
    in_dataset = read_frame(write_odim(tmp_path / "b.h5", raw, LATE, calibration_in_dataset=True), Z_R)
    np.testing.assert_array_equal(in_data.rain_rate, in_dataset.rain_rate)


def test_odim_rate_is_mm_per_hour(tmp_path, raw):
    raw[2, 2], raw[3, 3] = 0, 255
    frame = read_frame(write_odim(tmp_path / "a.h5", raw, LATE, quantity="RATE", gain=0.1, offset=0.0), Z_R)
    assert frame.rain_rate[2, 2] == 0
    assert np.isnan(frame.rain_rate[3, 3])
    assert frame.rain_rate[1, 1] == pytest.approx(raw[1, 1] / 10)
    assert (frame.time_is, frame.z_r) == ("instant", None)


def test_odim_accumulation_is_divided_by_its_own_interval_and_ends_at_its_time(tmp_path, raw):
    path = write_odim(
        tmp_path / "a.h5", raw, LATE, quantity="ACRR", gain=0.1, offset=0.0, interval=timedelta(minutes=15)
    )
    frame = read_frame(path, Z_R)
    assert frame.rain_rate[1, 1] == pytest.approx(raw[1, 1] / 10 * 4)
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("end", 900, None)
    assert frame.time == np.datetime64("2021-02-28T23:55:00")


def test_hdf5_of_dwd_is_odim(tmp_path):
    """The grid DE1200 of its radar composites, an ellipsoidal one, at its place."""
    projdef = (
        "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +a=6378137 +b=6356752.3142451802 +no_defs "
        "+x_0=543196.83521776402 +y_0=3622588.8619310018"
    )
    raw = np.full((1200, 1100), 50, np.uint16)
    path = write_odim(
        tmp_path / "composite_rv_20210228_2355-hd5", raw, LATE, quantity="ACRR", gain=0.01, offset=0.0, nodata=65535.0,
        projdef=projdef, left=-500.0, top=500.0,
    )  # fmt: skip
    frame = read_frame(path, Z_R)
    assert frame.rain_rate[0, 0] == pytest.approx(0.5 * 12)
    assert frame.time == np.datetime64(LATE)
    to_lonlat, grid = pyproj.Proj(projdef), frame.grid
    # Outer corners of DE1200, as DWD gives them.
    assert to_lonlat(grid.x[0] - 500, grid.y[0] + 500, inverse=True) == pytest.approx((1.4633015, 55.8620871), abs=1e-6)
    assert to_lonlat(grid.x[-1] + 500, grid.y[0] + 500, inverse=True) == pytest.approx(
        (18.7316165, 55.8454386), abs=1e-6
    )


@pytest.mark.parametrize(
    ("group", "attributes", "reason"),
    [
        ("what", {"object": np.bytes_("PVOL")}, "object PVOL, not a composite"),
        ("what", {"time": None}, "no attribute time in /what"),
        ("what", {"time": np.bytes_("255500")}, "is no time"),
        ("what", {"date": np.bytes_("20200228")}, "its data are from"),
        ("where", {"xsize": 17}, "corners"),
        ("where", {"xscale": 900.0}, "the corners make pixels of 1000"),
        ("where", {"projdef": np.bytes_("+proj=nonsense")}, "nonsense"),
        ("where", {"LL_lon": np.nan}, "corners"),
        ("where", {"UR_lat": 0.0}, "corners"),
        ("dataset1/data1/what", {"quantity": np.bytes_("VRAD")}, "quantity VRAD, and none of"),
        ("dataset1/what", {"endtime": None}, "no attribute endtime"),
        ("what", {"date": 20210228}, "attribute date in /what is the number 20210228, not text"),
        ("what", {"time": np.bytes_("")}, "attribute time in /what is empty, not text"),
        ("where", {"projdef": h5py.Empty("S1")}, "attribute projdef in /where is empty, not text"),
        ("where", {"xsize": np.bytes_("many")}, "attribute xsize in /where is 'many', not a number"),
        ("where", {"xsize": 16.5}, "attribute xsize in /where is 16.5, not a whole number"),
        ("where", {"LL_lon": np.array([1.0, 2.0])}, "attribute LL_lon in /where is 2 values, not a number"),
        (
            "dataset1/data1/what",
            {"gain": np.array([])},
            "attribute gain in /dataset1/data1/what is empty, not a number",
        ),
        ("where", {"projdef": np.bytes_("+proj=geos +h=35785831 +a=6378169 +b=6356583.8")}, "corners"),
    ],
)
def test_odim_headers_that_say_something_else(tmp_path, group, attributes, reason):
    assert reason in refused_frame(edited(write_odim(tmp_path / "a.h5", RAW, LATE), group, **attributes))


@pytest.mark.parametrize(
    ("attributes", "reason"), [({"gain": 0.0}, "gain 0"), ({"gain": np.nan}, "gain nan"), ({"offset": np.inf}, "inf")]
)
def test_odim_calibration_that_makes_no_sense(tmp_path, attributes, reason):
    path = edited(write_odim(tmp_path / "a.h5", RAW, LATE), "dataset1/data1/what", **attributes)
    assert reason in refused_frame(path)


def test_odim_accumulation_over_no_time(tmp_path):
    path = write_odim(tmp_path / "a.h5", RAW, LATE, quantity="ACRR", interval=timedelta(0))
    assert "mm over 0 s" in refused_frame(path)
