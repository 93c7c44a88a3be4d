"""Which frames a forecast is made from, and what it says when they aren't there."""

import gzip
import logging
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from archive import moving_cells
from hypothesis import given
from hypothesis import strategies as st
from radar_files import name_of, write_fmi_pgm, write_odim
from small_model import loaded

from pipelines.errors import UserError
from pipelines.forecast import choose_inputs, forecast, newest_of_folder
from pipelines.params import read_params
from pipelines.tracking.registry import LoadedModel

MODEL = loaded("extrapolation")
INGEST = read_params(Path(__file__).parents[2] / "params.yaml").ingest_radar
NOON = datetime(2024, 6, 1, 12)


def at_minutes(*minutes: float) -> np.ndarray:
    return np.datetime64(NOON, "s") + np.array([round(60 * minute) for minute in minutes], "timedelta64[s]")


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# choose_inputs


@pytest.mark.parametrize(
    ("minutes", "chosen", "step_s"),
    [
        ((0, 5, 10, 15, 20), (10, 15, 20), 300),
        ((20, 0, 10, 5, 15), (10, 15, 20), 300),  # in any order
        ((0, 5, 5, 10, 10, 10), (0, 5, 10), 300),  # repeated
        ((0, 10, 20, 30), (10, 20, 30), 600),  # at any step, where the model says none
        ((0, 30, 60, 65, 70, 75, 80), (70, 75, 80), 300),  # an old gap, and an old step
        ((0, 5, 10, 12, 15), (5, 10, 15), 300),  # one too many
        ((0, 5, 10), (0, 5, 10), 300),
    ],
)
def test_the_newest_frames_are_chosen(minutes: tuple[int, ...], chosen: tuple[int, ...], step_s: int) -> None:
    times, seconds = choose_inputs(at_minutes(*minutes), MODEL, "radar")
    assert times.tolist() == at_minutes(*chosen).tolist()
    assert seconds == step_s


@pytest.mark.parametrize(
    ("minutes", "model", "words"),
    [
        ((), MODEL, r"^radar: 0 frame\(s\), and models:/radar-nowcast@champion needs 3$"),
        ((0, 5), MODEL, r"^radar: 2 frame\(s\)"),
        ((0, 0, 0, 5, 5), MODEL, r"^radar: 2 frame\(s\)"),
        ((0,), loaded("persistence", inputs=1), r"^radar: 1 frame\(s\)"),  # no step can be told from one
        ((0, 5, 10, 15, 25), MODEL, "^radar: no frame of 2024-06-01T12:20:00 UTC, and .* up to 2024-06-01T12:25:00"),
        ((0, 5, 10, 15, 45), MODEL, "no frame of 2024-06-01T12:35:00, 2024-06-01T12:40:00 UTC"),
        ((0, 5, 10), loaded("persistence", step_seconds=600), "frames are 300 s apart, and .* in steps of 600 s"),
        ((0, 10, 20), loaded("persistence", step_seconds=300), "frames are 600 s apart, and .* in steps of 300 s"),
    ],
)
def test_why_a_forecast_can_t_be_made_is_one_line(minutes: tuple[int, ...], model: LoadedModel, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        choose_inputs(at_minutes(*minutes), model, "radar")
    one_line(error)


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 6))
def test_what_is_chosen_is_there_without_a_gap_and_ends_with_the_newest(ticks: list[int], inputs: int) -> None:
    times = at_minutes(*(5 * tick for tick in ticks))
    try:
        chosen, step_s = choose_inputs(times, loaded("persistence", inputs=inputs), "radar")
    except UserError as error:
        assert str(error).startswith("radar: ")
        assert not {max(ticks, default=0) - back for back in range(12)} <= set(ticks)
        return
    assert chosen.size == inputs
    assert chosen[-1] == times.max()
    assert np.isin(chosen, times).all()
    assert (np.diff(chosen) == np.timedelta64(step_s, "s")).all()


# newest_of_folder


def raw(value: int = 120, shape: tuple[int, int] = (12, 16)) -> np.ndarray:
    """Bytes of a composite: rain of one reflectivity, no echo in one corner and not seen in another."""
    pixels = np.full(shape, value, np.uint8)
    pixels[0, 0], pixels[-1, -1] = 0, 255
    return pixels


def write_radar(folder: Path, *minutes: int) -> list[Path]:
    """ODIM_H5 composites so many minutes after noon; their reflectivity tells them apart."""
    times = [NOON + timedelta(minutes=minute) for minute in minutes]
    return [
        write_odim(folder / name_of(time), raw(100 + minute), time) for time, minute in zip(times, minutes, strict=True)
    ]


def marshall_palmer(code: int) -> float:
    """Rain rate of a pixel's code, half a dBZ a step from -32."""
    return float((10 ** ((0.5 * code - 32) / 10) / 200) ** (1 / 1.6))


def test_frames_of_a_folder(tmp_path: Path) -> None:
    paths = write_radar(tmp_path, 0, 5, 10, 15, 20)
    frames, step_s = newest_of_folder(tmp_path, MODEL, INGEST)
    assert step_s == 300
    assert [frame.source for frame in frames] == [path.name for path in paths[2:]]
    assert [frame.time for frame in frames] == at_minutes(10, 15, 20).tolist()
    assert [frame.rain_rate[5, 5] for frame in frames] == pytest.approx(
        [marshall_palmer(100 + m) for m in (10, 15, 20)]
    )
    assert np.isnan(frames[-1].rain_rate[-1, -1])


def test_impossible_rain_is_treated_as_in_the_archive(tmp_path: Path) -> None:
    write_radar(tmp_path, 0, 5, 10)
    assert marshall_palmer(110) > 0.5
    clipped = INGEST.model_copy(update={"max_rate": 0.5, "above_max_rate": "clip"})
    masked = INGEST.model_copy(update={"max_rate": 0.5, "above_max_rate": "mask"})
    assert newest_of_folder(tmp_path, MODEL, clipped)[0][-1].rain_rate[5, 5] == 0.5
    assert np.isnan(newest_of_folder(tmp_path, MODEL, masked)[0][-1].rain_rate[5, 5])


@pytest.mark.parametrize("broken", ["cut", "empty", "foreign"])
def test_a_broken_newest_file_is_told_of_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    *_, newest = write_radar(tmp_path, 0, 5, 10, 15)
    content = {"cut": newest.read_bytes()[:900], "empty": b"", "foreign": b"<html>not found</html>"}
    newest.write_bytes(content[broken])
    frames, _ = newest_of_folder(tmp_path, MODEL, INGEST)
    assert [frame.time for frame in frames] == at_minutes(0, 5, 10).tolist()
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert told.startswith(f"{newest}: ")


def test_a_file_with_a_good_header_and_broken_pixels_is_passed_over_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = [NOON + timedelta(minutes=minute) for minute in (0, 5, 10, 15)]
    *_, newest = (write_fmi_pgm(tmp_path / name_of(time, "pgm"), raw(), time) for time in times)
    newest.write_bytes(newest.read_bytes()[:-20])
    frames, _ = newest_of_folder(tmp_path, MODEL, INGEST)
    assert [frame.time for frame in frames] == at_minutes(0, 5, 10).tolist()
    assert [record.getMessage() for record in caplog.records] == [f"{newest}: 172 pixels, and the header says 12×16"]


def test_a_broken_file_among_the_newest_is_a_gap(tmp_path: Path) -> None:
    paths = write_radar(tmp_path, 0, 5, 10, 15, 20)
    paths[3].write_bytes(paths[3].read_bytes()[:900])
    with pytest.raises(UserError, match="no frame of 2024-06-01T12:15:00 UTC") as error:
        newest_of_folder(tmp_path, MODEL, INGEST)
    one_line(error)


def test_the_same_frame_twice_is_one(tmp_path: Path) -> None:
    first, *_ = paths = write_radar(tmp_path, 0, 5, 10)
    (tmp_path / "copies").mkdir()
    for path in paths:
        (tmp_path / "copies" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    frames, step_s = newest_of_folder(tmp_path, MODEL, INGEST)
    assert [frame.source for frame in frames] == [path.name for path in paths]
    assert (frames[0].source, step_s) == (first.name, 300)


def test_two_grids_are_one_line(tmp_path: Path) -> None:
    write_radar(tmp_path, 0, 5, 10)
    other = write_odim(
        tmp_path / name_of(NOON + timedelta(minutes=15)), raw(shape=(12, 20)), datetime(2024, 6, 1, 12, 15)
    )
    with pytest.raises(UserError, match=rf"RAD_.*\.h5: not as {other.name}: 12×16 pixels, not 12×20") as error:
        newest_of_folder(tmp_path, MODEL, INGEST)
    one_line(error)


def test_two_grids_at_the_same_times_are_refused_not_chosen_among(tmp_path: Path) -> None:
    write_radar(tmp_path, 0, 5, 10)
    (tmp_path / "elsewhere").mkdir()
    for minute in (0, 5, 10):
        time = NOON + timedelta(minutes=minute)
        write_odim(tmp_path / "elsewhere" / name_of(time), raw(), time, left=50_000.0)
    with pytest.raises(UserError, match="pixels elsewhere") as error:
        newest_of_folder(tmp_path, MODEL, INGEST)
    one_line(error)


def test_two_kinds_of_product_are_refused(tmp_path: Path) -> None:
    write_radar(tmp_path, 0, 5)
    accumulated = {"quantity": "ACRR", "gain": 0.01, "offset": 0.0}
    write_odim(tmp_path / "accumulated.h5", raw(), NOON + timedelta(minutes=10), **accumulated)
    with pytest.raises(UserError, match=r"not as accumulated\.h5: time as instant") as error:
        newest_of_folder(tmp_path, MODEL, INGEST)
    one_line(error)


def test_an_older_grid_is_of_no_matter(tmp_path: Path) -> None:
    write_radar(tmp_path, 15, 20, 25)
    write_odim(tmp_path / name_of(NOON), raw(shape=(30, 30)), NOON)
    frames, _ = newest_of_folder(tmp_path, MODEL, INGEST)
    assert {frame.grid.shape for frame in frames} == {(12, 16)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such folder"),
        ({}, "no file in it"),
        ({"readme.txt": b"not radar"}, r"none of its 1 file\(s\) is a radar file that can be read; .*readme\.txt: "),
        ({"a.h5": b"", "b.png": b"\x89PNG\r\n"}, r"none of its 2 file\(s\) is .*a\.h5: empty"),
    ],
)
def test_a_folder_without_a_radar_file_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: dict[str, bytes] | None, words: str
) -> None:
    folder = tmp_path / "radar"
    if content is not None:
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=words) as error:
        newest_of_folder(folder, MODEL, INGEST)
    assert one_line(error).startswith(f"{folder}: ")
    assert not caplog.records


# forecast


@pytest.mark.parametrize(
    ("minutes", "step_s", "leads"), [(60, 300, 12), (60, 600, 6), (7, 300, 1), (60, 420, 8), (90, 300, 18)]
)
def test_lead_times_go_as_far_as_asked_for(minutes: int, step_s: int, leads: int) -> None:
    frames = moving_cells("2024-06-01T12:00", 3, shape=(24, 32))
    dataset = forecast(frames, step_s, loaded("persistence"), minutes=minutes, snapshot="XYZ")
    assert dataset["lead_time"].to_numpy().tolist() == [step_s * (lead + 1) for lead in range(leads)]
    assert dataset.attrs["live_store_snapshot"] == "XYZ"
    np.testing.assert_array_equal(dataset["rainfall_flux"].to_numpy()[-1], frames[-1].rain_rate)


def test_no_lead_time_or_nothing_seen_is_one_line() -> None:
    frames = moving_cells("2024-06-01T12:00", 3, shape=(24, 32))
    with pytest.raises(UserError, match="no lead time up to 4 minutes in steps of 300 s") as error:
        forecast(frames, 300, MODEL, minutes=4)
    one_line(error)
    frames[-1].rain_rate[:] = np.nan
    with pytest.raises(UserError, match=rf"^{frames[-1].source}: no valid pixel in the newest frame") as error:
        forecast(frames, 300, MODEL)
    one_line(error)
