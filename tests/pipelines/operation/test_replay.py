from pathlib import Path

import pytest
from archive import moving_cells
from inbox_file import write_file

import pipelines.operation.replay
from pipelines.common.errors import UserError
from pipelines.operation.replay import replay


class Clock:
    """A clock that goes on when somebody sleeps."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


def test_files_come_as_they_are_in_time_order_at_the_pace_of_the_radar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = moving_cells("2024-06-01T12:00:00", 4)
    # names in another order than times
    files = [write_file(tmp_path / "archive", frame, name=f"{9 - i}.h5") for i, frame in enumerate(frames)]
    (tmp_path / "archive" / "notes.txt").write_text("not radar")
    clock, came = Clock(), []
    monkeypatch.setattr(pipelines.operation.replay, "time", clock)
    for path, moment in replay(tmp_path / "archive", tmp_path / "inbox", speed=1500.0):
        came.append((path.name, moment, clock.now))
        clock.now += 0.03  # whoever takes it takes his time, and the next is none the later
        assert path.read_bytes() == (tmp_path / "archive" / path.name).read_bytes()
    assert [name for name, _, _ in came] == [file.name for file in files]
    assert [moment for _, moment, _ in came] == [frame.time for frame in frames]
    # five minutes at 1500 times the speed are 0.2 s
    assert [at for _, _, at in came] == pytest.approx([0.0, 0.2, 0.4, 0.6])
    assert {path.name for path in (tmp_path / "inbox").iterdir()} == {file.name for file in files}


def test_a_folder_without_radar_files_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not radar")
    with pytest.raises(UserError, match="none of its files"):
        next(replay(tmp_path, tmp_path / "inbox", speed=1.0))
