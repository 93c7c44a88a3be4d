"""What holds for files of every format, and for what is none."""

import gzip
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
from radar_files import (
    marshall_palmer,
    name_of,
    write_bom,
    write_fmi_pgm,
    write_knmi,
    write_mch_gif,
    write_odim,
)
from refused import refused_frame

from pipelines.common.errors import UserError
from pipelines.radar.readers.read import radar_files, read_frame, read_header, read_time

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)
RAW = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)


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


def test_a_little_below_0_is_dry(tmp_path, raw):
    raw[4, 4], raw[4, 5] = 1, 20
    frame = read_frame(write_odim(tmp_path / "a.h5", raw, TIME, quantity="RATE", gain=0.1, offset=-1.0), Z_R)
    assert frame.rain_rate[4, 4] == 0  # -0.9 mm/h
    assert frame.rain_rate[4, 5] == pytest.approx(1.0)


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
    assert reason in refused_frame(path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.h5").mkdir()
    assert "directory" in refused_frame(tmp_path / "folder.h5")
    assert "No such file" in refused_frame(tmp_path / "none.h5")


@pytest.mark.parametrize("write", [write_odim, write_fmi_pgm, write_knmi])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_anywhere(tmp_path, write, share):
    path = write(tmp_path / "a", RAW, TIME)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused_frame(path, header_too=False)


def test_foreign_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = RAW
    assert "neither ODIM_H5, KNMI's nor CF netCDF" in refused_frame(tmp_path / "a.h5")


def test_pixels_that_are_no_rain(tmp_path):
    path = write_odim(tmp_path / "a.h5", np.full((12, 16), 255, np.uint8), TIME)
    assert refused_frame(path, header_too=False) == "no pixel is valid"
    path = write_odim(tmp_path / "b.h5", RAW, TIME, quantity="RATE", gain=0.1, offset=-5.0)
    assert "negative rain" in refused_frame(path, header_too=False)


@pytest.mark.parametrize(
    "name", ["RAD_202002282355.h5", "20210228_2354.h5", "x20210228T235500Z.h5", "20210228235501.h5"]
)
def test_name_and_content_of_different_times(tmp_path, name):
    path = write_odim(tmp_path / name, RAW, TIME)
    if name == "x20210228T235500Z.h5":
        assert read_time(path) == np.datetime64(TIME)
    else:
        assert "its name says" in refused_frame(path)


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
