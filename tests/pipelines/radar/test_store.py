"""The store of frames: packing, metadata, gaps, and the public validator's word on it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray as xr
import zarr
from archive import moving_cells

from pipelines.common.errors import UserError
from pipelines.common.rights import Rights
from pipelines.radar.cf_grid import crs_attributes, grid_of
from pipelines.radar.clock import missing_times, usual_step
from pipelines.radar.frame import Frame, packed
from pipelines.radar.grid import Grid
from pipelines.radar.shards import Shards, assemble
from pipelines.radar.store import (
    frames_dataset,
    frames_digest,
    open_frames,
    rows_of,
    shard_frames,
)

STEREO = pyproj.CRS("+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +R=6371288 +units=m")
GRID = Grid.from_edges(STEREO, left=-1000.0, top=-3000000.0, dx=1000.0, dy=1000.0, shape=(5, 7))
START = np.datetime64("2021-03-01T23:57:30", "s")


def a_frame(minutes: int, time_is="instant", grid: Grid = GRID, rain_rate: np.ndarray | None = None) -> Frame:
    if rain_rate is None:
        rain_rate = np.random.default_rng(minutes).gamma(0.5, 4, grid.shape).astype(np.float32)
    instant = time_is == "instant"
    return Frame(
        START + np.timedelta64(minutes, "m"),
        grid,
        time_is,
        0 if instant else 300,
        (223.0, 1.53) if instant else None,
        f"radar_{minutes}.h5",
        f"{minutes:064x}",
        rain_rate,
    )


def written(path: Path, frames: list[Frame]) -> Path:
    frames_dataset(frames, Rights("CC-BY-4.0")).to_zarr(path, mode="w-", zarr_format=3, consolidated=False)
    return path


def test_rain_rate_comes_back_to_half_a_step_as_float32(tmp_path):
    rain_rate = np.zeros((5, 7), np.float32)
    rain_rate[0, :6] = [np.nan, 0.004, 0.006, 655.34, 655.36, 5000]
    frames = [a_frame(0, rain_rate=rain_rate), a_frame(5)]
    rain = open_frames(written(tmp_path / "a.zarr", frames))["rainfall_flux"]
    assert rain.dtype == np.float32
    assert rain.dims == ("time", "y", "x")
    read = rain.to_numpy()
    assert np.isnan(read[0, 0, 0])
    assert np.isnan(read).sum() == 1
    np.testing.assert_allclose(read[0, 0, 1:6], [0, 0.01, 655.34, 655.34, 655.34], rtol=1e-6)
    np.testing.assert_allclose(read[1], frames[1].rain_rate, atol=0.00501)


def test_stored_numbers_and_chunks(tmp_path):
    frames = [a_frame(5 * i) for i in range(3)]
    array = zarr.open_group(written(tmp_path / "a.zarr", frames), mode="r")["rainfall_flux"]
    assert array.dtype == np.uint16
    assert array.chunks == (1, 5, 7)
    assert array.shards == (32, 5, 7)
    assert array.fill_value == 65535 == array.attrs["_FillValue"]
    np.testing.assert_array_equal(array[1], np.round(frames[1].rain_rate.astype(float) * 100).astype(np.uint16))


def test_a_shard_is_byte_by_byte_what_xarray_writes(tmp_path):
    """Of half steps too, of nothing known, and of more than can be stored."""
    grid = Grid.from_edges(STEREO, left=0.0, top=-3000000.0, dx=1000.0, dy=1000.0, shape=(200, 300))
    frames = [a_frame(5 * i, grid=grid) for i in range(4)]
    frames[0].rain_rate[:] = np.arange(60_000, dtype=np.float32).reshape(200, 300) * np.float32(0.005)
    frames[1].rain_rate[:] = np.nan
    frames[2].rain_rate[:3] = np.array([np.nan, np.inf, 655.35], np.float32)[:, None]
    pixels = [packed(frame.rain_rate) for frame in frames]
    assert pixels[2][:3, 0].tolist() == [65535, 65534, 65534]
    shards = Shards(tmp_path / "shards")
    shards.make(pixels, [("a", 0)])
    shard = written(tmp_path / "a.zarr", frames) / "rainfall_flux/c/0/0/0"
    assert shards.path([("a", 0)]).read_bytes() == shard.read_bytes()


def test_a_shard_is_bounded_in_memory():
    assert shard_frames((256, 256)) == 32
    assert shard_frames((4400, 3800)) == 2
    assert shard_frames((20000, 20000)) == 1


def test_what_was_never_written_reads_as_nan(tmp_path):
    store = written(tmp_path / "a.zarr", [a_frame(0)])
    for _, array in zarr.open_group(store).arrays():
        if "time" in (array.metadata.dimension_names or ()):
            array.resize((2, *array.shape[1:]))
    rain = open_frames(store)["rainfall_flux"]
    assert np.isfinite(rain.variable[0].to_numpy()).all()
    assert np.isnan(rain.variable[1].to_numpy()).all()


def test_times_and_sources(tmp_path):
    frames = [a_frame(0), a_frame(5), a_frame(120)]
    dataset = open_frames(written(tmp_path / "a.zarr", frames))
    np.testing.assert_array_equal(dataset["time"], [frame.time for frame in frames])
    assert dataset["time"].attrs["time_is"] == "instant"
    assert "time_bounds" not in dataset.variables
    assert dataset["source_file"].to_numpy().tolist() == ["radar_0.h5", "radar_5.h5", "radar_120.h5"]
    assert dataset["source_sha256"].to_numpy().tolist() == [frame.sha256 for frame in frames]
    assert (dataset["rainfall_flux"].attrs["z_r_a"], dataset["rainfall_flux"].attrs["z_r_b"]) == (223.0, 1.53)
    assert dataset.attrs["license"] == "CC-BY-4.0"
    raw = zarr.open_group(tmp_path / "a.zarr", mode="r")["time"]
    assert raw.dtype == np.int64
    assert raw[0] == 1614643050  # date -u -d 2021-03-01T23:57:30 +%s


@pytest.mark.parametrize(("time_is", "first"), [("end", -300), ("start", 0)])
def test_bounds_of_accumulations(tmp_path, time_is, first):
    dataset = open_frames(written(tmp_path / "a.zarr", [a_frame(0, time_is), a_frame(5, time_is)]))
    bounds = (dataset["time_bounds"] - START) / np.timedelta64(1, "s")
    np.testing.assert_array_equal(bounds, [[first, first + 300], [first + 300, first + 600]])
    assert dataset["time"].attrs["time_is"] == time_is
    assert "z_r_a" not in dataset["rainfall_flux"].attrs
    raw = xr.open_zarr(tmp_path / "a.zarr", consolidated=False, decode_times=False)
    assert raw["time"].attrs["bounds"] == "time_bounds"


def test_grid_comes_back(tmp_path):
    dataset = open_frames(written(tmp_path / "a.zarr", [a_frame(0)]))
    grid = grid_of(dataset)
    assert GRID.difference(grid) is None
    np.testing.assert_array_equal(grid.x, GRID.x)
    lon, lat = pyproj.Proj(STEREO)(3500.0, -3001500.0, inverse=True)
    assert dataset["lon"].to_numpy()[1, 4] == pytest.approx(lon, abs=1e-5)
    assert dataset["lat"].to_numpy()[1, 4] == pytest.approx(lat, abs=1e-5)


def test_a_latitude_longitude_grid(tmp_path):
    grid = Grid.from_edges(pyproj.CRS("EPSG:4326"), left=5.0, top=50.0, dx=0.01, dy=0.01, shape=(5, 7))
    dataset = open_frames(written(tmp_path / "a.zarr", [a_frame(0, grid=grid)]))
    assert grid.difference(grid_of(dataset)) is None
    assert dataset["x"].attrs["units"] == "degrees_east"
    assert dataset["crs"].attrs["grid_mapping_name"] == "latitude_longitude"


def test_cf_parameters_make_the_projection_without_the_wkt():
    attributes = crs_attributes(STEREO)
    assert attributes["latitude_of_projection_origin"] == 90.0
    assert attributes["spatial_ref"] == attributes["crs_wkt"]
    bare = {name: value for name, value in attributes.items() if name not in ("crs_wkt", "spatial_ref")}
    there = pyproj.Proj(pyproj.CRS.from_cf(bare))(24.0, 62.0)
    assert there == pytest.approx(pyproj.Proj(STEREO)(24.0, 62.0), abs=1e-3)


def test_a_projection_that_cf_cannot_say_is_given_by_its_wkt_alone():
    swiss = pyproj.CRS("EPSG:2056")
    attributes = crs_attributes(swiss)
    assert set(attributes) == {"crs_wkt", "spatial_ref"}
    assert pyproj.CRS.from_wkt(attributes["crs_wkt"]) == swiss


def test_frames_that_do_not_belong_together():
    with pytest.raises(ValueError, match=r"radar_0.h5: not later"):
        frames_dataset([a_frame(5), a_frame(0)], Rights("CC0-1.0"))
    with pytest.raises(ValueError, match="time as end"):
        frames_dataset([a_frame(0), a_frame(5, "end")], Rights("CC0-1.0"))
    other = Grid(STEREO, GRID.x + 1000, GRID.y)
    with pytest.raises(ValueError, match="pixels elsewhere"):
        frames_dataset([a_frame(0), a_frame(5, grid=other)], Rights("CC0-1.0"))


def test_what_is_no_store_of_frames(tmp_path):
    with pytest.raises(UserError, match="it isn't there"):
        open_frames(tmp_path / "none.zarr")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    xr.Dataset({"a": ("x", [1.0])}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    frames_dataset([a_frame(0)], Rights("CC0-1.0")).transpose("y", "x", "time", ...).drop_encoding().to_zarr(
        tmp_path / "turned.zarr", consolidated=False
    )
    # Version 2 would have Python's pickle among its codecs, and nothing of ours is of it.
    frames_dataset([a_frame(0)], Rights("CC0-1.0")).drop_encoding().to_zarr(tmp_path / "v2.zarr", zarr_format=2)
    for name in ("empty", "file", "other.zarr", "turned.zarr", "v2.zarr"):
        with pytest.raises(UserError, match=f"{name}: not a store of frames") as error:
            open_frames(tmp_path / name)
        assert "\n" not in str(error.value)


def test_missing_times():
    def at(*minutes: int) -> np.ndarray:
        return START + np.array(minutes, "timedelta64[m]")

    np.testing.assert_array_equal(missing_times(at(0, 5, 20, 25)), at(10, 15))
    assert missing_times(at(0, 5, 10)).size == 0
    assert missing_times(at(0, 5, 12)) is None  # no regular clock
    assert missing_times(at(0)) is None
    assert missing_times(np.array(["1970-01-01T00:00:00", "1970-01-01T00:00:01", START], "datetime64[s]")) is None


def test_the_public_validator_passes_all_but_three_years(tmp_path):
    """Runs mlcast-dataset-validator as its users do, on a store with a gap, and a row without a frame."""
    grid = Grid.from_edges(STEREO, left=0.0, top=-3000000.0, dx=1000.0, dy=1000.0, shape=(256, 256))
    frames = [a_frame(minutes, "end", grid) for minutes in (0, 5, 10, 15, 25, 30)]
    frames[3] = replace(frames[3], source="", sha256="")
    shards = Shards(tmp_path / "shards")
    shards.make([packed(frame.rain_rate) if frame.sha256 else None for frame in frames], [("a", 0)])
    assemble(rows_of(frames), [shards.path([("a", 0)])], tmp_path / "a.zarr", Rights("CC-BY-4.0"))
    tool = Path(sys.executable).with_name("mlcast.validate_dataset")
    done = subprocess.run(
        [tool, "source_data", "radar_precipitation", tmp_path / "a.zarr"],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "250", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONUTF8": "1"},
    )
    rows = [line for line in done.stdout.splitlines() if "✅" in line or "❌" in line]
    assert len(rows) > 20, done.stderr
    assert [row for row in rows if "❌" in row and "Minimum 3-year coverage" not in row] == []
    assert any("✅" in row and "missing" in row.lower() for row in rows)


@pytest.mark.parametrize(
    ("minutes", "step_s"),
    [
        ((0, 5), 300),
        ((0, 5, 10, 30, 35), 300),
        ((35, 0, 10, 5, 30), 300),
        ((0, 5, 15), 300),  # a tie: the shorter
        ((0, 10, 20, 25), 600),
        ((0, 0, 0, 0, 2, 4), 120),  # repeated times are one
        ((0, 0.5, 1), 30),
    ],
)
def test_usual_step_by_hand(minutes: tuple[float, ...], step_s: int) -> None:
    times = np.datetime64("2024-06-01", "s") + np.round(np.array(minutes) * 60).astype("timedelta64[s]")
    assert usual_step(times) == step_s


def test_the_digest_of_frames_is_their_times_their_sources_and_their_conversion() -> None:
    frames = moving_cells("2024-06-01T12:00", 3, shape=(16, 20))
    digest = frames_digest(frames_dataset(frames, Rights("CC0-1.0")))
    assert digest == frames_digest(frames_dataset(frames, Rights("CC-BY-4.0"), sharded=False))
    later = [replace(frame, time=frame.time + 1) for frame in frames]
    converted = [replace(frame, z_r=(256.0, 1.42)) for frame in frames]
    corrected = [*frames[:2], replace(frames[2], sha256="0" * 64)]
    others = [
        frames_digest(frames_dataset(changed, Rights("CC0-1.0")))
        for changed in (later, converted, corrected, frames[:2])
    ]
    assert len({digest, *others}) == 5
