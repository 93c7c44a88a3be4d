"""Archives of different steps together: instants thinned, accumulations averaged, nothing made up."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from archive import moving_cells, write_store

from pipelines.common.errors import UserError
from pipelines.common.provenance import fingerprint
from pipelines.radar.cadence import frames_once, open_frames_at
from pipelines.radar.store import open_frames


def store(
    folder: Path,
    time_is: Literal["instant", "start", "end"],
    *,
    first: str = "2024-06-01T12:00",
    count: int = 9,
    without: tuple[int, ...] = (),
    interval_s: int = 300,
) -> Path:
    """Frames every 5 minutes, 12:00 to 12:40."""
    frames = moving_cells(first, count, shape=(12, 16))
    seconds = 0 if time_is == "instant" else interval_s
    kept = [replace(frame, time_is=time_is, interval_s=seconds) for i, frame in enumerate(frames) if i not in without]
    return write_store(folder / "radar.zarr", kept)


def clock(frames) -> list[str]:
    return [str(time)[11:16] for time in frames["time"].to_numpy()]


def test_instants_are_thinned_to_full_steps(tmp_path: Path) -> None:
    path = store(tmp_path, "instant", first="2024-06-01T12:05", without=(3,))
    thin = open_frames_at(path, 600)
    assert clock(thin) == ["12:10", "12:30", "12:40"]
    all_rain = open_frames(path)["rainfall_flux"].to_numpy()
    np.testing.assert_array_equal(thin["rainfall_flux"].to_numpy(), all_rain[[1, 4, 6]])
    assert list(thin["source_file"].to_numpy()) == list(open_frames(path)["source_file"].to_numpy()[[1, 4, 6]])


def test_instants_between_full_minutes_keep_their_own_clock(tmp_path: Path) -> None:
    path = store(tmp_path, "instant", first="2024-06-01T12:02")
    assert clock(open_frames_at(path, 900)) == ["12:02", "12:17", "12:32"]


@pytest.mark.parametrize(
    ("time_is", "at", "parts"),
    [
        # 12:00 ends the step before, of which nothing else is there, 12:20 is lost with 12:15.
        ("end", ["12:10", "12:30", "12:40"], [(1, 2), (5, 6), (7, 8)]),
        # 12:10 is lost with 12:15, and of 12:40's second half nothing is there.
        ("start", ["12:00", "12:20", "12:30"], [(0, 1), (4, 5), (6, 7)]),
    ],
)
def test_accumulations_are_averaged_over_whole_steps(
    tmp_path: Path, time_is: Literal["start", "end"], at: list[str], parts: list[tuple[int, int]]
) -> None:
    lost = 3
    path = store(tmp_path, time_is, without=(lost,))
    mean = open_frames_at(path, 600)
    rain = open_frames(path)["rainfall_flux"].to_numpy()
    rain = np.insert(rain, lost, np.nan, axis=0)
    assert clock(mean) == at
    expected = np.stack([rain[list(of_step)].mean(axis=0) for of_step in parts])
    assert np.isnan(expected).any() and np.isfinite(expected).any()
    np.testing.assert_allclose(mean["rainfall_flux"].to_numpy(), expected, rtol=1e-6)
    assert mean["rainfall_flux"].attrs["units"] == "kg m-2 h-1" and mean["rainfall_flux"].dtype == np.float32
    np.testing.assert_array_equal(mean["rainfall_flux"][1].to_numpy(), mean["rainfall_flux"].to_numpy()[1])


def test_of_a_mean_any_part_is_what_the_whole_has_there(tmp_path: Path) -> None:
    path = store(tmp_path, "start")
    mean = open_frames_at(path, 600)["rainfall_flux"]
    whole = open_frames_at(path, 600)["rainfall_flux"].to_numpy()
    assert mean.shape == (4, 12, 16) == whole.shape and mean.chunks is None, "no graph"
    assert mean[2:2].to_numpy().shape == (0, 12, 16)
    np.testing.assert_array_equal(mean[2, 3:7], whole[2, 3:7])
    np.testing.assert_array_equal(mean[[3, 0], ::2, 5], whole[[3, 0], ::2, 5])
    np.testing.assert_array_equal(mean[1:][-1][..., -3:], whole[3, :, -3:])
    assert pickle.dumps(mean[1:3]), "a worker of a loader gets it so"


def test_the_own_step_or_none_changes_nothing(tmp_path: Path) -> None:
    path = store(tmp_path, "end")
    for step in (None, 300):
        assert open_frames_at(path, step).identical(open_frames(path))


def test_what_has_no_mean_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its step is 300 s, and 420 s is no multiple of it"):
        open_frames_at(store(tmp_path, "instant"), 420)
    with pytest.raises(UserError, match="accumulations over other times than its step of 300 s have no mean"):
        open_frames_at(store(tmp_path / "hourly", "end", interval_s=3600), 600)


def test_one_frame_or_none_has_no_step_and_is_refused(tmp_path: Path) -> None:
    path = store(tmp_path, "instant", first="2024-06-01T12:05", count=2)
    for step, words in (
        (600, r"radar\.zarr: 1 frame\(s\) at index\.step_s of 600 s, and two at least are needed$"),
        (1800, r"radar\.zarr: 0 frame\(s\) at index\.step_s of 1800 s, and two at least are needed$"),
    ):
        with pytest.raises(UserError, match=words):
            open_frames_at(path, step)
    with pytest.raises(UserError, match=r"radar\.zarr: 1 frame\(s\), and two at least are needed$"):
        open_frames_at(store(tmp_path / "one", "instant", count=1), None)


def test_where_whole_steps_are_rarely_neighbours_the_step_is_another_one_and_refused(tmp_path: Path) -> None:
    """Of every 20 minutes the frame of the last 5 is lost, and with it a step of 10."""
    path = store(tmp_path, "end", first="2024-06-01T12:05", count=24, without=tuple(range(3, 24, 4)))
    with pytest.raises(UserError, match=r"radar\.zarr: brought to 600 s, its frames are mostly 1200 s apart"):
        open_frames_at(path, 600)


def test_a_worker_that_has_not_the_same_store_refuses_it(tmp_path: Path) -> None:
    path = store(tmp_path, "instant")
    state = fingerprint(path)
    assert frames_once(path, state, None).sizes["time"] == 9
    (path / "rainfall_flux" / "c" / "0" / "0" / "0").unlink()  # which Zarr reads as NaN
    frames_once.cache_clear()
    with pytest.raises(UserError, match=r"radar\.zarr: it changed, or .* has not the same one as the host of the run"):
        frames_once(path, state, None)
