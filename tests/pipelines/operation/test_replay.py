import time
from pathlib import Path

import numpy as np
import pytest
from archive import moving_cells
from inbox_file import write_file

from pipelines.common.errors import UserError
from pipelines.operation.replay import replay


def test_files_come_as_they_are_in_time_order_at_the_pace_of_the_radar(tmp_path: Path) -> None:
    frames = moving_cells("2024-06-01T12:00:00", 4)
    # names in another order than times
    files = [write_file(tmp_path / "archive", frame, name=f"{9 - i}.h5") for i, frame in enumerate(frames)]
    (tmp_path / "archive" / "notes.txt").write_text("not radar")
    start, came = time.monotonic(), []
    for path, moment in replay(tmp_path / "archive", tmp_path / "inbox", speed=1500.0):
        came.append((path.name, moment, time.monotonic() - start))
        assert path.read_bytes() == (tmp_path / "archive" / path.name).read_bytes()
    assert [name for name, _, _ in came] == [file.name for file in files]
    assert [moment for _, moment, _ in came] == [frame.time for frame in frames]
    # five minutes at 1500 times the speed are 0.2 s
    np.testing.assert_allclose(np.diff([at for _, _, at in came]), 0.2, atol=0.15)
    assert came[-1][2] >= 0.6
    assert {path.name for path in (tmp_path / "inbox").iterdir()} == {file.name for file in files}


def test_a_folder_without_radar_files_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not radar")
    with pytest.raises(UserError, match="none of its files"):
        next(replay(tmp_path, tmp_path / "inbox", speed=1.0))
