"""What the user says of silent files."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from radar_files import LAEA, write_odim

from pipelines.common.errors import UnreadableFile
from pipelines.params.radar import FileHints
from pipelines.radar.readers.hints import time_in_name
from pipelines.radar.readers.read import read_header

TIME = datetime(2021, 2, 28, 23, 55)
RAW = np.full((12, 16), 100, np.uint8)


def refused(path: Path, **hints) -> str:
    with pytest.raises(UnreadableFile) as error:
        read_header(path, FileHints(**hints))
    return error.value.reason


def test_a_contradiction_names_both(tmp_path):
    path = write_odim(tmp_path / "a.h5", RAW, TIME)
    assert refused(path, unit="mm/hr") == "unit: params.yaml says mm/h, and the file dBZ"
    assert refused(path, interval_s=300) == "interval_s: params.yaml says 300, and the file an instant"
    assert refused(path, time_is="end") == "time_is: params.yaml says end, and the file instant"
    assert "crs: params.yaml says ETRS89-extended / LAEA Europe, and the file" in refused(path, crs="EPSG:3035")
    assert "no projection that PROJ knows" in refused(path, crs="nowhere")
    assert "neither dBZ nor" in refused(path, unit="K")


def test_to_say_the_same_is_no_contradiction(tmp_path):
    path = write_odim(tmp_path / "a.h5", RAW, TIME)
    header = read_header(path, FileHints(unit="dBZ", time_is="instant", crs=LAEA))
    assert header.time == np.datetime64(TIME)


@pytest.mark.parametrize(
    ("name", "pattern", "time"),
    [
        ("rain_2021-02-28_23.55.tif", "%Y-%m-%d_%H.%M", "2021-02-28T23:55:00"),
        ("12345678.20210228T2355Z.nc", "%Y%m%dT%H%MZ", "2021-02-28T23:55:00"),
        ("r21059235510.gif", "r%y%j%H%M%S", "2021-02-28T23:55:10"),
        ("28Feb2021(2355)", "%d%b%Y(%H%M)", "2021-02-28T23:55:00"),
    ],
)
def test_time_in_a_name(name, pattern, time):
    assert time_in_name(name, pattern) == np.datetime64(time)


def test_no_time_in_a_name():
    with pytest.raises(ValueError, match="has no time like %Y%m%d"):
        time_in_name("rain.tif", "%Y%m%d")
    with pytest.raises(ValueError, match=r"%Q in params\.yaml is none of %Y"):
        time_in_name("rain.tif", "%Q")
