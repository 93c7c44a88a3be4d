"""What the user says of silent files."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from radar_files import LAEA, cf_dataset, write_fmi_pgm, write_odim

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.common.rights import Rights
from pipelines.operation.inbox import Inbox
from pipelines.operation.live_store import LiveStore
from pipelines.params.radar import Archive, FileHints, Regrid
from pipelines.params.read import read_params
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.quality_table import tables_of
from pipelines.radar.readers.hints import time_in_name
from pipelines.radar.readers.read import read_header
from pipelines.radar.store import open_frames

TIME = datetime(2021, 2, 28, 23, 55)
ROOT = Path(__file__).parents[4]
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


def test_a_name_that_the_user_reads_contradicts(tmp_path):
    path = write_odim(tmp_path / "rain 28.02.2021 2350.h5", RAW, TIME)
    assert refused(path, time_pattern="%d.%m.%Y %H%M") == (
        "time_pattern: params.yaml says 2021-02-28T23:50:00 by the file's name, and the file 2021-02-28T23:55:00"
    )
    # Where the user says which digits are the time, others aren't.
    path = write_odim(tmp_path / "202001010000 28.02.2021 2355.h5", RAW, TIME)
    assert "its name says 2020" in refused(path)
    assert read_header(path, FileHints(time_pattern="%d.%m.%Y %H%M")).time == np.datetime64(TIME)


def test_what_a_format_fixes(tmp_path):
    path = write_fmi_pgm(tmp_path / "a.pgm", RAW, TIME)
    assert refused(path, nodata=254) == "nodata: params.yaml says 254.0, and the file leaves no choice"
    assert "variable: params.yaml says rain, and the file leaves no choice" in refused(path, variable="rain")
    path = write_odim(tmp_path / "a.h5", RAW, TIME)
    assert refused(path, nodata=254) == "nodata: params.yaml says [254.0], and the file [255.0]"


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


def test_an_archive_in_params_yaml(tmp_path):
    """The stage, `scs ingest` and the inbox of a domain take the same words of the user."""
    dataset = cf_dataset(1).isel(time=0).drop_vars("time")
    dataset["rr"].attrs = {}
    folder = tmp_path / "in"
    folder.mkdir()
    dataset.to_netcdf(folder / "rain 28.02.2021 2355.nc")
    words = {"variable": "rr", "unit": "mm", "interval_s": 600, "time_pattern": "%d.%m.%Y %H%M"}
    regrid = Regrid(crs=None, resolution=0.02, min_valid=0.5)
    archive = Archive(**words, licence="CC0-1.0", attribution="Source: them", regrid=regrid)
    params = read_params(ROOT / "params.yaml")
    ingest = params.ingest_radar.model_copy(update={"archives": {"silent": archive}})
    store = tmp_path / "silent.zarr"
    assert ingest_radar(folder, store, *tables_of(store), ingest) == 0
    with open_frames(store) as frames:
        assert frames["rainfall_flux"].shape == (1, 6, 8)
        assert float(frames["rainfall_flux"][0, 0, 0]) == pytest.approx(300)  # max_rate
        assert float(frames["rainfall_flux"][0, -1, 1]) == pytest.approx(6 * np.mean([2, 3, 18, 19]))
        assert (frames.attrs["license"], frames.attrs["attribution"]) == ("CC0-1.0", "Source: them")
        assert frames["time"].attrs["time_is"] == "end"
    with pytest.raises(UserError, match="no variable whose standard_name"):
        ingest_radar(folder, tmp_path / "other.zarr", *tables_of(tmp_path / "other.zarr"), ingest)

    (domain,) = params.domains.values()
    domain = domain.model_copy(update=words)
    live = LiveStore(tmp_path / "live", Rights("CC0-1.0"))
    now = np.datetime64("2021-03-01T00:00:00")
    inbox = Inbox(folder)
    assert inbox.store(sorted(folder.iterdir()), live, params.ingest_radar, now, domain) == 1
    assert live.open()["time"].to_numpy() == np.datetime64(TIME)
