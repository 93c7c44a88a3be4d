"""What stands in the pictures of a comparison."""

from pathlib import Path

import pandas as pd
import pytest

from pipelines.driving import figures
from pipelines.params.driving import DrivingModel

OFF = {"kind": "off"}
HALF = {"kind": "two_sided", "p": 0.5}
BOTH = {"t1": 0.5, "t2": 0.5}
ADAPTIVE = {"adaptive": {"fraction": 0.5, "gain": 1.0, "warmup": 20, "smoothing": 0.9}}


def test_by_length_and_by_p_all_else_is_equal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = {
        name: DrivingModel(
            cell=cell,
            depth=2,
            width=2,
            columns=1,
            frames=frames,
            switch=switch,
            subtasks=BOTH if cell == "scs" else None,
        )
        for name, cell, frames, switch in (
            ("cnn", "cnn", 10, OFF),
            ("off", "scs", 10, OFF),
            ("half", "scs", 10, HALF),
            ("astsgd", "scs", 10, HALF | ADAPTIVE),
            ("short", "scs", 5, HALF),
            ("long", "scs", 20, HALF),
        )
    }
    shown: dict[str, dict[str, float]] = {}
    monkeypatch.setattr(figures, "_points", lambda ax, label, at, results, within: shown.update({label: at}))
    figures.draw_lengths(dict.fromkeys(models, pd.DataFrame()), models, 2.0, tmp_path / "lengths.png")
    assert shown == {
        "cnn": {"cnn": 10},
        "scs": {"half": 10, "short": 5, "long": 20},
        "STSGD": {"off": 0, "half": 0.5},
        "ASTSGD": {"astsgd": 0.5},
    }
