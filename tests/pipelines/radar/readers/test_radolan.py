"""RADOLAN's products on all its grids."""

from datetime import datetime

import numpy as np
import pyproj
import pytest
from radar_files import write_radolan
from refused import refused_frame

from pipelines.radar.readers.read import read_frame, read_headers, read_time

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)


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
    assert refused_frame(path, header_too=False) == header.refusal == "a nowcast of 23:55 for 00:40 UTC, 2021-03-01"


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
        assert reason in refused_frame(bad, header_too=False)
    named = write_radolan(tmp_path / "raa01-yw_10000-2102282350-dwd---bin", raw, TIME)
    assert read_time(named) == np.datetime64(TIME)  # its start
    assert "its name says" in refused_frame(
        named.rename(tmp_path / "raa01-yw_10000-2002282355-dwd---bin"), header_too=False
    )
