"""Frames of a folder of radar files: which are read, and what it says when they can't be."""

import gzip
import logging
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from radar_files import name_of, write_fmi_pgm, write_odim

from pipelines.common.errors import UserError
from pipelines.operation.inputs import choose_inputs
from pipelines.operation.sources import of_folder
from pipelines.params.radar import IngestRadar
from pipelines.params.read import read_params
from pipelines.radar.frame import Frame

PARAMS = read_params(Path(__file__).parents[3] / "params.yaml")
INGEST = PARAMS.ingest_radar
NOON = datetime(2024, 6, 1, 12)


def at_minutes(*minutes: float) -> np.ndarray:
    return np.datetime64(NOON, "s") + np.array([round(60 * minute) for minute in minutes], "timedelta64[s]")


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def newest_of_folder(folder: Path, params: IngestRadar) -> list[Frame]:
    """The newest three frames, of which none may be missing."""
    strict = PARAMS.domains["simulated"].policy.model_copy(update={"max_missing": 0, "min_valid_share": 0.0})
    return choose_inputs(of_folder(folder, params), 3, strict, "it").observed


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
    frames = newest_of_folder(tmp_path, INGEST)
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
    assert newest_of_folder(tmp_path, clipped)[-1].rain_rate[5, 5] == 0.5
    assert np.isnan(newest_of_folder(tmp_path, masked)[-1].rain_rate[5, 5])


@pytest.mark.parametrize("broken", ["cut", "empty", "foreign"])
def test_a_broken_newest_file_is_told_of_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    *_, newest = write_radar(tmp_path, 0, 5, 10, 15)
    content = {"cut": newest.read_bytes()[:900], "empty": b"", "foreign": b"<html>not found</html>"}
    newest.write_bytes(content[broken])
    frames = newest_of_folder(tmp_path, INGEST)
    assert [frame.time for frame in frames] == at_minutes(0, 5, 10).tolist()
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert told.startswith(f"{newest}: ")


def test_a_file_with_a_good_header_and_broken_pixels_is_passed_over_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = [NOON + timedelta(minutes=minute) for minute in (0, 5, 10, 15)]
    *_, newest = (write_fmi_pgm(tmp_path / name_of(time, "pgm"), raw(), time) for time in times)
    newest.write_bytes(newest.read_bytes()[:-20])
    frames = newest_of_folder(tmp_path, INGEST)
    assert [frame.time for frame in frames] == at_minutes(0, 5, 10).tolist()
    assert [record.getMessage() for record in caplog.records] == [f"{newest}: 172 pixels, and the header says 12×16"]


def test_a_broken_file_among_the_newest_is_a_gap(tmp_path: Path) -> None:
    paths = write_radar(tmp_path, 0, 5, 10, 15, 20)
    paths[3].write_bytes(paths[3].read_bytes()[:900])
    with pytest.raises(UserError, match="no good frame of 2024-06-01T12:15:00 UTC") as error:
        newest_of_folder(tmp_path, INGEST)
    one_line(error)


def test_the_same_frame_twice_is_one(tmp_path: Path) -> None:
    first, *_ = paths = write_radar(tmp_path, 0, 5, 10)
    (tmp_path / "copies").mkdir()
    for path in paths:
        (tmp_path / "copies" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    frames = newest_of_folder(tmp_path, INGEST)
    assert [frame.source for frame in frames] == [path.name for path in paths]
    assert frames[0].source == first.name


def test_two_grids_are_one_line(tmp_path: Path) -> None:
    write_radar(tmp_path, 0, 5, 10)
    other = write_odim(
        tmp_path / name_of(NOON + timedelta(minutes=15)), raw(shape=(12, 20)), datetime(2024, 6, 1, 12, 15)
    )
    with pytest.raises(UserError, match=rf"RAD_.*\.h5: not as {other.name}: 12×16 pixels, not 12×20") as error:
        newest_of_folder(tmp_path, INGEST)
    one_line(error)


def test_two_grids_at_the_same_times_are_refused_not_chosen_among(tmp_path: Path) -> None:
    write_radar(tmp_path, 0, 5, 10)
    (tmp_path / "elsewhere").mkdir()
    for minute in (0, 5, 10):
        time = NOON + timedelta(minutes=minute)
        write_odim(tmp_path / "elsewhere" / name_of(time), raw(), time, left=50_000.0)
    with pytest.raises(UserError, match="pixels elsewhere") as error:
        newest_of_folder(tmp_path, INGEST)
    one_line(error)


def test_two_kinds_of_product_are_refused(tmp_path: Path) -> None:
    write_radar(tmp_path, 0, 5)
    accumulated = {"quantity": "ACRR", "gain": 0.01, "offset": 0.0}
    write_odim(tmp_path / "accumulated.h5", raw(), NOON + timedelta(minutes=10), **accumulated)
    with pytest.raises(UserError, match=r"not as accumulated\.h5: time as instant") as error:
        newest_of_folder(tmp_path, INGEST)
    one_line(error)


def test_an_older_grid_is_of_no_matter(tmp_path: Path) -> None:
    write_radar(tmp_path, 15, 20, 25)
    write_odim(tmp_path / name_of(NOON), raw(shape=(30, 30)), NOON)
    frames = newest_of_folder(tmp_path, INGEST)
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
        newest_of_folder(folder, INGEST)
    assert one_line(error).startswith(f"{folder}: ")
    assert not caplog.records
