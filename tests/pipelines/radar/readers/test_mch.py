"""MeteoSwiss' GIF."""

from datetime import datetime

import numpy as np
import pyproj
import pytest
from radar_files import write_mch_gif
from refused import refused_frame

from pipelines.radar.readers.read import read_frame, read_time

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)
RAW = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)


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


def test_mch_pictures_of_something_else(tmp_path):
    pixels = np.zeros((640, 710), np.uint8)
    assert "scale dBZ8bit" in refused_frame(write_mch_gif(tmp_path / "a", pixels, TIME, scale="dBZ8bit"))
    assert "12×16" in refused_frame(write_mch_gif(tmp_path / "b", RAW, TIME))
    assert "its name says" in refused_frame(write_mch_gif(tmp_path / "AQC210592345F_00005.801.gif", pixels, TIME))
    named = write_mch_gif(tmp_path / "AQC210592355F_00005.801.gif", pixels, TIME)
    assert read_time(named) == np.datetime64(TIME)
    content = named.read_bytes()
    named.write_bytes(content.replace(b"AQC210592355", b"AQC213662355"))  # 2021 has no 366th day
    assert "is no time" in refused_frame(named)
    named.write_bytes(content.replace(b"AQC210592355", b"AQC213992355"))
    assert "'213992355' is no time" in refused_frame(named)
    named.write_bytes(content[: len(content) // 2])
    refused_frame(named, header_too=False)
