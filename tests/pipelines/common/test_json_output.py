"""What a machine gets."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipelines.common.json_output import print_json


def test_what_json_has_no_word_for(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"a": float("nan"), "b": [np.float64("-inf"), np.float32(0.5)], "c": np.datetime64("2024-06-01T12:05", "s")}
    noon = datetime(2024, 6, 1, 12, tzinfo=UTC)
    print_json(found | {"d": Path("x/\udcff"), "e": "é\n", "f": None, "g": np.int64(3), "h": [noon], "i": np.False_})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.isascii()  # a name of bytes that are no text can't be printed as it is
    assert json.loads(out, parse_constant=pytest.fail) == {
        "a": None,
        "b": [None, 0.5],
        "c": "2024-06-01T12:05:00",
        "d": "x/\udcff",
        "e": "é\n",
        "f": None,
        "g": 3,
        "h": ["2024-06-01T12:00:00+00:00"],
        "i": False,
    }
