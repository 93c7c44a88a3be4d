"""Files that are refused, and in what words."""

from pathlib import Path

import pytest

from pipelines.common.errors import UnreadableFile
from pipelines.radar.readers.read import read_frame, read_time


def refused_frame(path: Path, number: int | None = None, *, header_too: bool = True) -> str:
    """Return the reason, in one line, why a frame can't be read; nor can its time, with ``header_too``."""
    with pytest.raises(UnreadableFile) as error:
        read_frame(path, (200.0, 1.6), number)
    message = str(error.value)
    assert message == f"{path}: {error.value.reason}"
    assert "\n" not in message
    if header_too:
        with pytest.raises(UnreadableFile):
            read_time(path)
    return error.value.reason
