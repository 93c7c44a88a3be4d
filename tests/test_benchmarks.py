"""What benchmarks make of results that are stored: no measurement."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from pipelines.verification.images import IMAGE_SUMS
from pipelines.verification.scoring import SUMS

ROOT = Path(__file__).resolve().parents[1]


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module(name)


def scored(folder: Path, name: str, squares: dict[str, float], thresholds: tuple[float, ...] = (0.648, 2.734)) -> None:
    """Write scores of a method, of each of its fields, from one forecast of 100 pixels."""
    counts = dict.fromkeys(SUMS, 1.0) | {"hits": 97.0, "correct_negatives": 1.0}
    about = {"event": 1, "time": pd.Timestamp("2024-06-01"), "minutes": 10.0}
    rows = [
        counts | dict.fromkeys(IMAGE_SUMS, of) | about | {"field": field, "threshold": at}
        for field, of in squares.items()
        for at in thresholds
    ]
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(folder / "scores" / f"{name}.parquet")


def test_claims_on_radar_are_of_one_network_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paper_radar = benchmark("paper_radar", monkeypatch)
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    scored(first, "scs_4", {"matched": 1.0})
    scored(first, "scs_4_seed2", {"matched": 3.0})
    scored(second, "scs_4", {"matched": 1.0})
    scored(second, "steps", {"mean": 5.0, "member": 9.0})
    (tables,) = paper_radar.read([first, second]).values()
    squares = {name: sums["image_squared_error"].tolist() for name, sums in tables.items()}
    assert squares == {"scs_4": [4.0, 4.0], "steps": [5.0, 5.0], "steps (member)": [9.0, 9.0]}
    scored(third, "scs_4", {"matched": 2.0})
    with pytest.raises(SystemExit, match=r"third/scores/scs_4\.parquet: other scores of scs_4 than in a folder before"):
        paper_radar.read([first, third])
    scored(third, "scs_4", {"matched": 2.0}, thresholds=(0.648, 5.0))
    with pytest.raises(SystemExit, match=r"scs_4\.parquet: no scores at 2\.734 mm/h"):
        paper_radar.read([third])


def test_of_a_loss_the_lower_curve_is_the_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = benchmark("learning_curves", monkeypatch)
    values = {"scs_off": (0.5, 0.4, 0.6), "scs_p50": (0.7, 0.3, 0.2)}
    curves = pd.DataFrame([(name, step, of) for name, each in values.items() for step, of in enumerate(each)])
    curves.columns = pd.Index(["model", "step", "value"])
    monkeypatch.setattr(module, "learning_curves", lambda *_: curves.copy())
    for metric, plain, other, step in (
        ("validation_loss", "0.400 at step 1", "0.200 at step 2", 1),
        ("validation_accuracy", "0.600 at step 2", "0.700 at step 0", None),
    ):
        monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "curves.png"), "long", "--metric", metric])
        assert module.main() == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == [f"scs_off: best mean {plain}", f"scs_p50: best mean {other}"]
        words = "no, at the end" if step is None else f"from step {step} on"
        assert lines[2] == f"scs_p50 better than scs_off: {words}"
