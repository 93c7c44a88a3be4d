"""Folders of radar files into stores: what goes in, what goes to quarantine and why, and the same bytes each time."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr
from ingested import PARAMS, Result, archive, at, pixels
from radar_files import LAEA, cf_dataset, name_of, write_fmi_pgm, write_knmi, write_odim

import pipelines.common.workers
from pipelines.common.errors import UserError
from pipelines.common.workers import decoders
from pipelines.params.radar import Regrid
from pipelines.radar.decoding import decode_packed
from pipelines.radar.ingest import find_source, ingest_radar
from pipelines.radar.inspection import inspect_store
from pipelines.radar.quality_table import tables_of
from pipelines.radar.store import open_frames


def test_frames_in_time_order_from_subfolders_with_sources(tmp_path, capsys):
    files = archive(tmp_path / "in", 5)
    (tmp_path / "in" / "older").mkdir()
    files[0] = files[0].rename(tmp_path / "in" / "older" / files[0].name)
    result = Result(tmp_path).run(tmp_path / "in")
    dataset = open_frames(result.store)
    assert result.times == [at(i) for i in range(5)]
    assert dataset["source_file"].to_numpy().tolist() == [path.name for path in files]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert dataset["source_sha256"].to_numpy().tolist() == digests
    for i in range(5):
        dbz = pixels(i) * 0.5 - 32
        expected = np.where(dbz < 0, 0, (10 ** (dbz / 10) / 200) ** (1 / 1.6))
        np.testing.assert_allclose(dataset["rainfall_flux"][i], expected.clip(0, 655.34), atol=0.0051)
    assert result.reasons == {}
    assert capsys.readouterr().out.strip().splitlines()[-1] == (
        "5 frames from 2021-02-28T23:50:00 to 2021-03-01T00:10:00 UTC, 0 files in quarantine"
    )


@pytest.mark.parametrize(("write", "ending"), [(write_fmi_pgm, "pgm.gz"), (write_knmi, "h5")])
def test_other_formats(tmp_path, write, ending):
    (tmp_path / "in").mkdir()
    for i in range(3):
        write(tmp_path / "in" / name_of(at(i), ending), pixels(i), at(i))
    result = Result(tmp_path).run(tmp_path / "in")
    assert result.times == [at(i) for i in range(3)]
    assert result.reasons == {}


def test_more_frames_than_a_shard(tmp_path):
    archive(tmp_path / "in", 37)
    result = Result(tmp_path).run(tmp_path / "in")
    dataset = open_frames(result.store)
    assert dataset.sizes["time"] == 37
    assert len(list((result.store / "rainfall_flux" / "c").iterdir())) == 2
    dbz = pixels(36)[3, 3] * 0.5 - 32
    expected = 0 if dbz < 0 else (10 ** (dbz / 10) / 200) ** (1 / 1.6)
    assert float(dataset["rainfall_flux"][36, 3, 3]) == pytest.approx(expected, abs=0.0051)


def test_broken_files_go_to_quarantine_and_the_rest_goes_in(tmp_path, capsys):
    files = archive(tmp_path / "in", 4)
    content = files[1].read_bytes()
    bad = {
        "cut.h5": content[: len(content) // 2],
        "empty.h5": b"",
        "page.h5": b"<html><body>503</body></html>",
        "sub/foreign.png": b"\x89PNG\r\n\x1a\n" + bytes(50),
    }
    for name, data in bad.items():
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in" / "vanished.h5").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in" / "folder.h5").mkdir()
    write_odim(tmp_path / "in" / name_of(at(9)), pixels(9), at(8))  # its name says another time
    result = Result(tmp_path).run(tmp_path / "in")
    assert result.times == [at(i) for i in range(4)]
    reasons = result.reasons
    assert set(reasons) == {*bad, "vanished.h5", name_of(at(9))}
    assert reasons["empty.h5"] == "empty"
    assert "web page" in reasons["page.h5"]
    assert "no radar format" in reasons["sub/foreign.png"]
    assert reasons["vanished.h5"] == "No such file or directory"
    assert "its name says" in reasons[name_of(at(9))]
    assert reasons["cut.h5"]
    assert "6 files in quarantine" in capsys.readouterr().out


def test_pixels_that_fail_after_a_good_header(tmp_path):
    files = archive(tmp_path / "in", 3)
    write_odim(files[1], np.full((12, 16), 255, np.uint8), at(1))
    result = Result(tmp_path).run(tmp_path / "in")
    assert result.times == [at(0), at(2)]
    assert result.reasons == {files[1].name: "no pixel is valid"}


def test_one_store_has_one_grid_and_one_product_those_of_most_files(tmp_path):
    archive(tmp_path / "in", 4)
    folder = tmp_path / "in"
    write_odim(folder / "a_size.h5", pixels(5, (12, 17)), at(-5))
    write_odim(folder / "b_place.h5", pixels(6), at(6), left=500.0)
    write_odim(folder / "c_projection.h5", pixels(7), at(7), projdef=LAEA.replace("lon_0=10", "lon_0=11"))
    write_odim(folder / "d_quantity.h5", pixels(8), at(8), quantity="RATE")
    write_odim(folder / "e_sum.h5", pixels(9), at(9), quantity="ACRR", offset=0.0)
    result = Result(tmp_path).run(folder)
    assert result.times == [at(i) for i in range(4)]
    reasons = result.reasons
    assert reasons["a_size.h5"] == "not as most files here: 12×17 pixels, not 12×16"
    assert reasons["b_place.h5"] == "not as most files here: pixels elsewhere or of another size"
    assert "lon_0=11" in reasons["c_projection.h5"]
    assert reasons["d_quantity.h5"] == "not as most files here: mm/h at an instant, not dBZ at an instant"
    assert "mm over 300 s, its time the end" in reasons["e_sum.h5"]


def test_the_same_again_is_skipped_and_a_contradiction_is_not_taken(tmp_path, capsys):
    archive(tmp_path / "in", 3)
    folder = tmp_path / "in"
    shutil.copy(folder / name_of(at(1)), folder / "again.h5")
    write_odim(folder / "zz_other.h5", pixels(77), at(2))
    write_odim(folder / "00_other.h5", pixels(78), at(0))
    result = Result(tmp_path).run(folder)
    assert result.times == [at(0), at(1), at(2)]
    sources = open_frames(result.store)["source_file"].to_numpy().tolist()
    assert sources == ["00_other.h5", name_of(at(1)), name_of(at(2))]
    assert result.reasons == {
        name_of(at(0)): "conflict: other content for 2021-02-28T23:50:00 UTC than 00_other.h5, which is taken",
        "zz_other.h5": f"conflict: other content for 2021-03-01T00:00:00 UTC than {name_of(at(2))}, which is taken",
    }
    assert ", 1 repeated files skipped, 2 files in quarantine" in capsys.readouterr().out


def test_a_conflict_is_won_by_the_first_that_can_be_read(tmp_path):
    archive(tmp_path / "in", 2)
    write_odim(tmp_path / "in" / "00_dead.h5", np.full((12, 16), 255, np.uint8), at(0))
    result = Result(tmp_path).run(tmp_path / "in")
    assert open_frames(result.store)["source_file"].to_numpy().tolist() == [name_of(at(0)), name_of(at(1))]
    assert result.reasons == {"00_dead.h5": "no pixel is valid"}


def test_many_files_of_one_time_take_no_more_memory_than_few(tmp_path, monkeypatch):
    archive(tmp_path / "in", 3)
    for i in range(9):
        write_odim(tmp_path / "in" / f"1a{i}.h5", pixels(50 + i), at(1))
    write_odim(tmp_path / "in" / "00_dead.h5", np.full((12, 16), 255, np.uint8), at(1))
    at_once = []

    class Watched:
        def __init__(self, limits, most):
            self.real = decoders(limits, most)

        def map(self, function, tasks):
            at_once.append(len(tasks) if function is decode_packed else 0)
            return self.real.map(function, tasks)

    monkeypatch.setattr(pipelines.common.workers, "decoders", Watched)
    monkeypatch.setattr("pipelines.radar.ingestion.shard_frames", lambda shape: 2)
    result = Result(tmp_path).run(tmp_path / "in")
    sources = open_frames(result.store)["source_file"].to_numpy().tolist()
    assert sources == [name_of(at(0)), "1a0.h5", name_of(at(2))]
    others = [f"1a{i}.h5" for i in range(1, 9)] + [name_of(at(1))]
    conflict = f"conflict: other content for {at(1).isoformat()} UTC than 1a0.h5, which is taken"
    assert result.reasons == {"00_dead.h5": "no pixel is valid"} | dict.fromkeys(others, conflict)
    assert max(at_once) == 2, "as many as are in a shard"


def test_a_gap_is_absent_and_listed(tmp_path):
    files = archive(tmp_path / "in", 6)
    files[2].unlink()
    dataset = open_frames(Result(tmp_path).run(tmp_path / "in").store)
    assert dataset["time"].to_numpy().astype("datetime64[s]").tolist() == [at(i) for i in (0, 1, 3, 4, 5)]
    assert dataset["missing_times"].to_numpy().astype("datetime64[s]").tolist() == [at(2)]
    assert dataset.attrs["license"] == "CC0-1.0"


def test_nothing_of_use_is_one_line_and_harms_nothing(tmp_path):
    files = archive(tmp_path / "in", 2)
    result = Result(tmp_path).run(tmp_path / "in")
    before = result.bytes
    for path in files:
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"in: none of its 2 files is of use; RAD_202102282350\.h5: empty"):
        result.run(tmp_path / "in")
    assert result.bytes == before
    assert len(result.reasons) == 2
    named = sorted(path.name for path in result.store.parent.glob("[!.]*"))
    assert named == ["quality.csv", "quarantine.csv", "radar.zarr"]
    with pytest.raises(UserError, match="no such folder"):
        result.run(tmp_path / "nowhere")


def test_same_bytes_however_often_and_in_whichever_process(tmp_path):
    archive(tmp_path / "in", 35)
    first = Result(tmp_path / "a").run(tmp_path / "in")
    script = (
        "from pathlib import Path; from pipelines.radar.ingest import ingest_radar; "
        "from pipelines.params.radar import ZR, IngestRadar; import sys; "
        "ingest_radar(*map(Path, sys.argv[1:]), IngestRadar(sources={'a': 'x'}, z_r=ZR(a=200.0, b=1.6), "
        "license='CC0-1.0', max_rate=655.34, above_max_rate='clip'))"
    )
    second = Result(tmp_path / "b")
    shutil.copytree(tmp_path / "in", tmp_path / "moved")
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "moved", second.store, second.table, second.quality],
        check=True,
        capture_output=True,
        env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin"},
    )
    assert first.bytes == second.bytes
    assert first.run(tmp_path / "in").bytes == second.bytes


def test_source_below_the_main_checkout(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    experiment = tmp_path / ".dvc" / "tmp" / "exps" / "run1"
    experiment.mkdir(parents=True)
    monkeypatch.chdir(experiment)
    assert find_source("data").resolve() == (tmp_path / "data").resolve()
    (experiment / "data").mkdir()
    assert find_source("data").resolve() == (experiment / "data").resolve()
    assert find_source(str(tmp_path / "data")) == tmp_path / "data"


@pytest.mark.parametrize(("above", "stored"), [("clip", 50.0), ("mask", np.nan)])
def test_impossible_rain_is_clipped_or_masked_and_counted(tmp_path, capsys, above, stored):
    archive(
        tmp_path / "in", 2, lambda path, raw, time: write_odim(path, raw, time, quantity="RATE", gain=0.1, offset=0.0)
    )
    raw = np.zeros((12, 16), np.uint16)
    raw[0, 0], raw[2, 3], raw[4, 5], raw[5, 6] = 60000, 501, 30000, 500
    write_odim(tmp_path / "in" / name_of(at(1)), raw, at(1), quantity="RATE", gain=0.1, offset=0.0, nodata=60000.0)
    result = Result(tmp_path)
    params = PARAMS.model_copy(update={"max_rate": 50.0, "above_max_rate": above})
    ingest_radar(tmp_path / "in", result.store, result.table, result.quality, params)
    rain = open_frames(result.store)["rainfall_flux"][1].to_numpy()
    np.testing.assert_equal(rain[[2, 4], [3, 5]], stored)
    assert rain[5, 6] == 50.0
    assert "2 pixels above 50 mm/h" in capsys.readouterr().out
    row = pd.read_csv(result.quality).iloc[1]
    valid = 191 if above == "clip" else 189
    assert (row["time"], row["file"], row["clipped"]) == ("2021-02-28T23:55:00", name_of(at(1)), 2)
    assert row["valid_share"] == pytest.approx(valid / 192, rel=1e-5)
    assert row["wet_share"] == pytest.approx((3 if above == "clip" else 1) / valid, rel=1e-5)
    assert row["maximum"] == 3000
    assert row["mean"] == pytest.approx((150 if above == "clip" else 50) / valid, rel=1e-4)


def test_strict_stops_at_the_first_bad_file(tmp_path):
    archive(tmp_path / "in", 3)
    (tmp_path / "in" / "bad.h5").write_bytes(b"")
    result = Result(tmp_path)
    with pytest.raises(UserError, match=r"bad\.h5: empty"):
        ingest_radar(tmp_path / "in", result.store, result.table, result.quality, PARAMS, strict=True)
    assert not result.store.exists()


def test_several_frames_in_a_file(tmp_path):
    (tmp_path / "in").mkdir()
    cf_dataset(3).to_netcdf(tmp_path / "in" / "a.nc")
    dataset = cf_dataset(5)
    dataset["rr"][3] = np.nan
    dataset["rr"][1] += 1
    dataset.to_netcdf(tmp_path / "in" / "b.nc")
    result = Result(tmp_path).run(tmp_path / "in")
    assert open_frames(result.store)["source_file"].to_numpy().tolist() == ["a.nc#0", "a.nc#1", "a.nc#2", "b.nc#4"]
    assert set(result.reasons) == {"b.nc#1", "b.nc#3"}
    assert result.reasons["b.nc#3"] == "no pixel is valid"
    assert "other content for 2021-03-01T00:00:00 UTC than a.nc#1" in result.reasons["b.nc#1"]


def test_a_radar_that_is_out_is_named(tmp_path):
    nodes = ["a,b,c", "a,c", "c,b,a", None]
    (tmp_path / "in").mkdir()
    for i, names in enumerate(nodes):
        path = write_odim(tmp_path / "in" / name_of(at(i)), pixels(i), at(i))
        if names:
            with h5py.File(path, "r+") as file:
                file.create_group("how").attrs["nodes"] = np.bytes_(names)
    result = Result(tmp_path).run(tmp_path / "in")
    table = pd.read_csv(result.quality)
    assert table["radars_out"].fillna("").tolist() == ["", "b", "", ""]
    assert table["time"].tolist() == [f"{at(i):%Y-%m-%dT%H:%M:%S}" for i in range(4)]
    first = result.quality.read_bytes()
    result.run(tmp_path / "in")  # from the cache
    assert result.quality.read_bytes() == first
    shutil.copy(result.quality, tables_of(result.store)[1])
    assert "radars out     b in 1 frames" in inspect_store(result.store, tmp_path / "page.html")


def test_a_grid_that_is_not_on_earth_costs_its_file(tmp_path):
    """The corner of a geostationary satellite's view, beside the disc."""
    archive(tmp_path / "in")
    rain = cf_dataset(1)["rr"]
    corner = 5_400_000.0 + 3000.0 * np.arange(16)
    axes = {
        name: (name, values, {"standard_name": f"projection_{name}_coordinate", "units": "m"})
        for name, values in (("y", corner[:12]), ("x", corner))
    }
    mapping = xr.Variable((), 0, pyproj.CRS("+proj=geos +h=35785831 +a=6378169 +b=6356583.8").to_cf())
    xr.Dataset(
        {"rr": (("time", "y", "x"), rain.to_numpy(), rain.attrs | {"grid_mapping": "crs"}), "crs": mapping},
        axes | {"time": rain["time"]},
        {"Conventions": "CF-1.11"},
    ).to_netcdf(tmp_path / "in" / "off.nc")
    result = Result(tmp_path).run(tmp_path / "in")
    assert len(result.times) == 4
    assert result.reasons == {"off.nc": "its grid isn't on earth: neither is row 0, column 0"}


def test_a_frame_that_cannot_be_brought_onto_the_grid_costs_its_file(tmp_path):
    archive(tmp_path / "in")
    write_odim(tmp_path / "in" / "pole.h5", pixels(9), at(9), projdef="+proj=stere +lat_0=-90 +lon_0=0 +ellps=WGS84")
    write_odim(tmp_path / "in" / "small.h5", pixels(10), at(10), scale=10.0)
    write_odim(tmp_path / "in" / "large.h5", pixels(11), at(11), scale=100_000.0)
    onto = Regrid(crs="+proj=gnom +lat_0=55 +lon_0=10 +ellps=WGS84", resolution=2000.0, min_valid=0.5)
    result = Result(tmp_path)
    params = PARAMS.model_copy(update={"regrid": onto, "max_unpacked_mb": 2})
    ingest_radar(tmp_path / "in", result.store, result.table, result.quality, params)
    assert len(result.times) == 4
    assert set(result.reasons) == {"large.h5", "pole.h5", "small.h5"}
    assert re.fullmatch(r"too large: a frame of \d+ pixels unpacks to .* 2", result.reasons["large.h5"])
    assert "doesn't lie in" in result.reasons["pole.h5"]
    assert result.reasons["small.h5"] == "ingest_radar.regrid.resolution: 2000 leaves 1×1 pixels"
    # What was too large for those limits is looked at again.
    ingest_radar(
        tmp_path / "in", result.store, result.table, result.quality, PARAMS.model_copy(update={"regrid": onto})
    )
    assert result.reasons["large.h5"].startswith("not as most files here")


def test_what_is_no_file_goes_into_quarantine(tmp_path, nest):
    source = tmp_path / "in"
    archive(source)
    os.mkfifo(source / "pipe.h5")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(source / "socket.h5"))
    (source / "null.h5").symlink_to("/dev/null")
    (source / "store.zarr").mkdir()
    (source / "store.zarr" / "zarr.json").write_text("{}")
    long_in_store, long = nest(source / "store.zarr"), nest(source)
    result = Result(tmp_path).run(source)
    assert len(result.times) == 4
    assert result.reasons == {
        "pipe.h5": "a pipe, no file",
        "socket.h5": "a socket, no file",
        "null.h5": "a link to /dev/null, out of its folder",
        "store.zarr": f"{long_in_store}: File name too long",
        long: "File name too long",
    }
