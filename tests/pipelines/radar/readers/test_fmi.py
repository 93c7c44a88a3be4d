"""FMI's PGM."""

import hashlib
from datetime import datetime

import numpy as np
import pyproj
import pytest
from radar_files import FMI, write_fmi_pgm
from refused import refused_frame

from pipelines.radar.readers.read import read_frame, read_header

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)
RAW = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)


def test_names_of_the_radars_of_fmi(tmp_path, raw):
    path = write_fmi_pgm(tmp_path / "a.pgm", raw, TIME)
    path.write_bytes(path.read_bytes().replace(b"# radar KOR", b"# radar VAN 1 24.8730 60.2710\n# radar KOR"))
    assert read_header(path).radars == {"KOR": True, "VAN": True}


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
    assert reason in refused_frame(path)
