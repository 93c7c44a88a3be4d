"""What can't become a frame is refused in one line that names the file and the reason, whatever it is."""

import gzip
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
from radar_files import name_of, write_bom, write_fmi_pgm, write_knmi, write_mch_gif, write_odim

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.radar.readers.read import radar_files, read_frame, read_time

TIME = datetime(2021, 2, 28, 23, 55)
RAW = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)
Z_R = (200.0, 1.6)


def refused(path: Path, *, header_too: bool = True) -> str:
    with pytest.raises(UnreadableFile) as error:
        read_frame(path, Z_R)
    message = str(error.value)
    assert message == f"{path}: {error.value.reason}"
    assert "\n" not in message
    if header_too:
        with pytest.raises(UnreadableFile):
            read_time(path)
    return error.value.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"GIF89a" + bytes(100), "no radar format that is known"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "file"),
        (gzip.compress(b"hello", mtime=0), "no radar format that is known"),
        (gzip.compress(bytes(1000), mtime=0)[:-6], "broken gzip"),
        (b"P5\n16 12\n255\n" + bytes(192), "no radar format"),  # a picture without FMI's comments
        (b"P5\n# obstime 202102282355\n", "cut short"),
    ],
)
def test_foreign_content(tmp_path, content, reason):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    assert reason in refused(path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.h5").mkdir()
    assert "directory" in refused(tmp_path / "folder.h5")
    assert "No such file" in refused(tmp_path / "none.h5")


@pytest.mark.parametrize("write", [write_odim, write_fmi_pgm, write_knmi])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_anywhere(tmp_path, write, share):
    path = write(tmp_path / "a", RAW, TIME)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, header_too=False)


def test_foreign_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = RAW
    assert "neither ODIM_H5, KNMI's nor CF netCDF" in refused(tmp_path / "a.h5")


def edited(path: Path, group: str, **attributes) -> Path:
    with h5py.File(path, "r+") as file:
        for name, value in attributes.items():
            if value is None:
                del file[group].attrs[name]
            else:
                file[group].attrs[name] = value
    return path


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
    assert reason in refused(edited(write_odim(tmp_path / "a.h5", RAW, TIME), group, **attributes))


@pytest.mark.parametrize(
    ("attributes", "reason"), [({"gain": 0.0}, "gain 0"), ({"gain": np.nan}, "gain nan"), ({"offset": np.inf}, "inf")]
)
def test_odim_calibration_that_makes_no_sense(tmp_path, attributes, reason):
    path = edited(write_odim(tmp_path / "a.h5", RAW, TIME), "dataset1/data1/what", **attributes)
    assert reason in refused(path)


def test_odim_accumulation_over_no_time(tmp_path):
    path = write_odim(tmp_path / "a.h5", RAW, TIME, quantity="ACRR", interval=timedelta(0))
    assert "mm over 0 s" in refused(path)


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
    assert reason in refused(edited(write_knmi(tmp_path / "a.h5", RAW, TIME), group, **attributes))


def test_knmi_calibration_that_is_not_linear(tmp_path):
    path = write_knmi(tmp_path / "a.h5", RAW, TIME, formula="GEO=PV*PV")
    assert "not linear" in refused(path, header_too=False)


@pytest.mark.parametrize(
    ("group", "attributes", "reason"),
    [
        ("precipitation", {"standard_name": np.bytes_("air_temperature")}, "no variable whose standard_name"),
        ("precipitation", {"units": np.bytes_("K")}, "unit 'K'"),
        ("valid_time", {"units": np.bytes_("fortnights since")}, "fortnights"),
        ("valid_time", {"standard_name": None, "units": np.bytes_("m")}, "no time"),
        ("x", {"units": np.bytes_("degrees_east")}, "not in metres"),
        ("proj", {"grid_mapping_name": np.bytes_("nonsense")}, "nonsense"),
    ],
)
def test_cf_headers_that_say_something_else(tmp_path, group, attributes, reason):
    assert reason in refused(edited(write_bom(tmp_path / "a.nc", RAW, TIME), group, **attributes))


def test_mch_pictures_of_something_else(tmp_path):
    pixels = np.zeros((640, 710), np.uint8)
    assert "scale dBZ8bit" in refused(write_mch_gif(tmp_path / "a", pixels, TIME, scale="dBZ8bit"))
    assert "12×16" in refused(write_mch_gif(tmp_path / "b", RAW, TIME))
    assert "its name says" in refused(write_mch_gif(tmp_path / "AQC210592345F_00005.801.gif", pixels, TIME))
    named = write_mch_gif(tmp_path / "AQC210592355F_00005.801.gif", pixels, TIME)
    assert read_time(named) == np.datetime64(TIME)
    content = named.read_bytes()
    named.write_bytes(content.replace(b"AQC210592355", b"AQC213662355"))  # 2021 has no 366th day
    assert "is no time" in refused(named)
    named.write_bytes(content.replace(b"AQC210592355", b"AQC213992355"))
    assert "'213992355' is no time" in refused(named)
    named.write_bytes(content[: len(content) // 2])
    refused(named, header_too=False)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"CorrectedReflectivity", b"RadialVelocity", "a PGM of RadialVelocity"),
        (b"# obstime 202102282355\n", b"", "no obstime"),
        (b"obstime 202102282355", b"obstime 20210228", "obstime in the PGM header: '20210228' is no time"),
        (b"truelatitude 60", b"truelatitude \xff", "truelatitude in the PGM header is '\ufffd', not 1"),
        (b"bottomleft ", b"bottomleft 1 ", "not 2 numbers"),
        (b"type stereographic", b"type mercator", "a mercator projection"),
        (b"metersperpixel_x 1000", b"metersperpixel_x 2000", "the corners make pixels of 1000"),
        (b"16 12\n255", b"16 12\n65535", "65535 levels"),
        (b"16 12\n255", b"16 13\n255", "corners"),
    ],
)
def test_fmi_headers_that_say_something_else(tmp_path, old, new, reason):
    path = write_fmi_pgm(tmp_path / "a.pgm", RAW, TIME)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    assert reason in refused(path)


def test_pixels_that_are_no_rain(tmp_path):
    path = write_odim(tmp_path / "a.h5", np.full((12, 16), 255, np.uint8), TIME)
    assert refused(path, header_too=False) == "no pixel is valid"
    path = write_odim(tmp_path / "b.h5", RAW, TIME, quantity="RATE", gain=0.1, offset=-5.0)
    assert "negative rain" in refused(path, header_too=False)


@pytest.mark.parametrize(
    "name", ["RAD_202002282355.h5", "20210228_2354.h5", "x20210228T235500Z.h5", "20210228235501.h5"]
)
def test_name_and_content_of_different_times(tmp_path, name):
    path = write_odim(tmp_path / name, RAW, TIME)
    if name == "x20210228T235500Z.h5":
        assert read_time(path) == np.datetime64(TIME)
    else:
        assert "its name says" in refused(path)


@pytest.mark.parametrize(
    "name", ["20219999_9999.h5", "66_1.h5", "202102282355_made_202103010003.h5", "1234567890123456.h5"]
)
def test_names_that_say_nothing_else(tmp_path, name):
    assert read_time(write_odim(tmp_path / name, RAW, TIME)) == np.datetime64(TIME)


def test_an_accumulation_may_be_named_by_its_start(tmp_path):
    path = write_knmi(tmp_path / name_of(TIME - timedelta(minutes=5)), RAW, TIME)
    assert read_time(path) == np.datetime64(TIME)


def test_files_of_a_folder(tmp_path):
    for name in ("b.h5", "a/z.h5", "a/y.pgm.gz", ".hidden.h5", ".git/x.h5", "c.h5.part", ".b.h5.1.partial.h5", "d.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "e.h5").symlink_to(tmp_path / "vanished.h5")
    assert [path.relative_to(tmp_path).as_posix() for path in radar_files(tmp_path)] == [
        "a/y.pgm.gz",
        "a/z.h5",
        "b.h5",
        "e.h5",
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no file in it"):
        radar_files(tmp_path / "empty")
    with pytest.raises(UserError, match="none: no such folder"):
        radar_files(tmp_path / "none")
