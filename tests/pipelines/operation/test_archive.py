"""The archive of finished days: exact, added to and never written over, and what ingestion reads."""

from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pyproj
import pytest
import xarray as xr
import yaml
from archive import moving_cells
from conftest import REPOSITORY
from domains import domain_in
from issued_files import damage_pixels

from pipelines.common.errors import UserError
from pipelines.operation.archive import archive_day, day_file, finished_days, how_it_differs, of_day
from pipelines.operation.live_store import LiveStore
from pipelines.params.radar import IngestRadar
from pipelines.radar.frame import Frame
from pipelines.radar.grid import Grid
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.quality_table import tables_of
from pipelines.radar.store import frames_of, open_frames

FRAMES = moving_cells("2024-06-01T23:35:00", 10, shape=(40, 48))  # five of each day
FIRST, SECOND = np.datetime64("2024-06-01"), np.datetime64("2024-06-02")


def stored(tmp_path: Path, frames: list[Frame]) -> xr.Dataset:
    live = LiveStore.of(domain_in(tmp_path))
    live.append(frames)
    return live.open()


def archived(tmp_path: Path, frames: list[Frame], day: np.datetime64 = FIRST) -> tuple[Path, int]:
    path = day_file(domain_in(tmp_path), day)
    return path, archive_day(of_day(stored(tmp_path, frames), day), path)


def ingested(tmp_path: Path) -> xr.Dataset:
    params = IngestRadar(**yaml.safe_load((REPOSITORY / "params.yaml").read_text())["ingest_radar"])
    store = tmp_path / "radar.zarr"
    assert ingest_radar(tmp_path / "archive", store, *tables_of(store), params, strict=True) == 0
    return open_frames(store)


def test_a_day_is_finished_six_hours_after_its_end() -> None:
    times = np.array([frame.time for frame in FRAMES])
    assert finished_days(times, np.datetime64("2024-06-02T05:59:59")) == []
    assert finished_days(times, np.datetime64("2024-06-02T06:00:00")) == [FIRST]
    assert finished_days(times, np.datetime64("2024-06-03T06:00:00")) == [FIRST, SECOND]


@pytest.mark.parametrize("time_is", ["instant", "end", "start"])
def test_ingestion_reads_what_the_live_store_held(tmp_path: Path, time_is: str) -> None:
    frames = FRAMES
    if time_is != "instant":
        frames = [replace(frame, time_is=time_is, interval_s=300, z_r=None) for frame in FRAMES]
    for day in (FIRST, SECOND):
        path, new = archived(tmp_path, frames, day)
        assert new == 5
        assert path == tmp_path / "archive" / "2024" / "06" / f"here_{str(day).replace('-', '')}.nc"
    live, again = stored(tmp_path, frames), ingested(tmp_path)
    np.testing.assert_array_equal(again["time"], live["time"])
    np.testing.assert_array_equal(again["rainfall_flux"].to_numpy(), live["rainfall_flux"].to_numpy())
    for of_live, of_archive in zip(frames_of(live), frames_of(again), strict=True):
        assert of_live.grid.difference(of_archive.grid) is None
        assert (of_live.time_is, of_live.interval_s) == (of_archive.time_is, of_archive.interval_s)


def test_a_file_is_cf_with_each_frames_source_and_packed_as_in_the_store(tmp_path: Path) -> None:
    path, _ = archived(tmp_path, FRAMES)
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        rain = file["rainfall_flux"]
        assert (rain.dtype, rain.scale_factor, rain._FillValue) == (np.uint16, np.float32(0.01), 65535)
        wanted = np.rint(np.nan_to_num(FRAMES[2].rain_rate.astype(float), nan=655.35) * 100)
        np.testing.assert_array_equal(rain[2], wanted)
        assert file.Conventions.startswith("CF-") and rain.standard_name == "rainfall_flux"
        assert list(file["source_sha256"][:]) == [frame.sha256 for frame in FRAMES[:5]]
        assert list(file["source_file"][:]) == [frame.source for frame in FRAMES[:5]]
        assert (rain.z_r_a, rain.z_r_b) == (200.0, 1.6)


def test_a_frame_that_comes_late_is_added_in_its_place(tmp_path: Path) -> None:
    path, new = archived(tmp_path, [*FRAMES[:2], *FRAMES[3:5]])
    assert new == 4
    before = path.read_bytes()
    assert archived(tmp_path, []) == (path, 0) and path.read_bytes() == before
    # the day has expired from the live store since, and the late frame is alone in it
    late = tmp_path / "other"
    assert archive_day(of_day(stored(late, [FRAMES[2]]), FIRST), path) == 1
    assert how_it_differs(path, of_day(stored(tmp_path, FRAMES), FIRST)) is None
    with xr.open_dataset(path) as file:
        np.testing.assert_array_equal(file["time"], [frame.time for frame in FRAMES[:5]])
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_what_contradicts_a_file_leaves_it_as_it_is(tmp_path: Path) -> None:
    path, _ = archived(tmp_path, FRAMES[:3])
    before = path.read_bytes()
    other = [replace(FRAMES[1], rain_rate=FRAMES[1].rain_rate + np.float32(1), sha256="f" * 64), FRAMES[3]]
    with pytest.raises(UserError, match=f"{path}: it has other content for a time of this day than the live store"):
        archive_day(of_day(stored(tmp_path / "other", other), FIRST), path)
    grid = Grid(FRAMES[3].grid.crs, FRAMES[3].grid.x + 500.0, FRAMES[3].grid.y)
    with pytest.raises(UserError, match="it is of another grid than the live store"):
        archive_day(of_day(stored(tmp_path / "shifted", [replace(FRAMES[3], grid=grid)]), FIRST), path)
    assert path.read_bytes() == before
    path.write_bytes(before[:5000])
    with pytest.raises(UserError, match=r"can't be read, so nothing is added: .*; `dvc checkout` may help"):
        archive_day(of_day(stored(tmp_path / "more", FRAMES[3:5]), FIRST), path)
    assert path.read_bytes() == before[:5000]


def test_what_a_file_doesnt_hold_exactly_is_seen(tmp_path: Path) -> None:
    frames = of_day(stored(tmp_path, FRAMES), FIRST)
    path = day_file(domain_in(tmp_path), FIRST)
    assert how_it_differs(path, frames) == "there is no such file"
    archive_day(frames, path)
    assert how_it_differs(path, frames) is None
    with netCDF4.Dataset(path, "a") as file:
        file.set_auto_maskandscale(False)
        was = file["rainfall_flux"][3, 20, 20]
        file["rainfall_flux"][3, 20, 20] = was + 1
    assert how_it_differs(path, frames) == "the frame of 2024-06-01T23:50:00 UTC has other values"
    with netCDF4.Dataset(path, "a") as file:
        file.set_auto_maskandscale(False)
        file["rainfall_flux"][3, 20, 20] = was
        file["source_sha256"][3] = "0" * 64
    assert how_it_differs(path, frames) == "the frame of 2024-06-01T23:50:00 UTC is of another source"
    with netCDF4.Dataset(path, "a") as file:
        file["source_sha256"][3] = frames["source_sha256"].to_numpy()[3]
    assert how_it_differs(path, frames) is None
    damage_pixels(path)
    assert how_it_differs(path, frames) == "NetCDF: HDF error"
    path.write_bytes(path.read_bytes()[:-2000])
    assert how_it_differs(path, frames)


def test_a_lat_lon_grid_is_kept(tmp_path: Path) -> None:
    grid = Grid(pyproj.CRS.from_epsg(4326), 10 + 0.01 * np.arange(48), 55 - 0.01 * np.arange(40))
    frames = [replace(frame, grid=grid) for frame in FRAMES]
    assert archived(tmp_path, frames)[1] == 5
    again = ingested(tmp_path)
    np.testing.assert_array_equal(again["rainfall_flux"], of_day(stored(tmp_path, frames), FIRST)["rainfall_flux"])
    assert grid.difference(frames_of(again)[0].grid) is None
