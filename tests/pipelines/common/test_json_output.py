"""What a machine gets."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.common.json_output import print_json


def test_what_json_has_no_word_for(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"a": float("nan"), "b": [np.float64("-inf"), np.float32(0.5)], "c": np.datetime64("2024-06-01T12:05", "s")}
    print_json(found | {"d": Path("x/y"), "e": "é\n", "f": None, "g": np.int64(3)})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out, parse_constant=pytest.fail) == {
        "a": None,
        "b": [None, 0.5],
        "c": "2024-06-01T12:05:00",
        "d": "x/y",
        "e": "é\n",
        "f": None,
        "g": 3,
    }
