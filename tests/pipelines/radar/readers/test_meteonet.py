"""MeteoNet's NPZ, which runs nothing."""

import pickle
import zipfile
from datetime import datetime, timedelta

import numpy as np
import pytest
from radar_files import write_meteonet
from refused import refused_frame

from pipelines.radar.readers.read import read_frame, read_headers

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)


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
    assert refused_frame(path, 0, header_too=False) == "no pixel is valid"
    assert "2 frames in one file" in refused_frame(path, header_too=False)
    dbz = np.full((1, 565, 784), 40, np.int16)
    dbz[0, 0, 0] = 255
    frame = read_frame(write_meteonet(tmp_path / "reflectivity_old_NW_2021_02.3.npz", dbz, dates[:1]), Z_R)
    assert np.isnan(frame.rain_rate[0, 0])
    assert frame.rain_rate[1, 1] == pytest.approx(11.53, abs=0.005)
    assert "a name that starts with" in refused_frame(path.rename(tmp_path / "other.npz"), 0, header_too=False)


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
    assert "builtins.eval" in refused_frame(path, 0, header_too=False)
