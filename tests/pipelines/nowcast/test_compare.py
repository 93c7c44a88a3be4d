"""The comparison's numbers by hand, and its pictures whole or absent."""

import json
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from archive import write_archive
from matplotlib.image import imread
from ruamel.yaml import YAML
from small_model import NETWORK, write_model

from pipelines.common.errors import UserError
from pipelines.nowcast import compare as stage
from pipelines.nowcast import evaluate as evaluation
from pipelines.nowcast.compare import draw_example
from pipelines.nowcast.hindcast import examples_of
from pipelines.nowcast.index import index
from pipelines.nowcast.methods.extrapolation import persistence
from pipelines.nowcast.methods.interface import factory
from pipelines.nowcast.scores import read_examples, read_scores, wettest, write_examples
from pipelines.params.nowcast import BASELINES, PYSTEPS
from pipelines.params.read import Params, read_params
from pipelines.radar.lead_times import few_leads
from pipelines.radar.store import open_frames
from pipelines.verification.bootstrap import common_forecasts
from pipelines.verification.figures import draw_csi, draw_fss, draw_spectra
from pipelines.verification.scoring import FSS_SUMS, SUMS, pooled
from pipelines.verification.spatial import WAVELENGTHS_KM, power_column, power_columns
from pipelines.verification.table import write_table

ROOT = Path(__file__).parents[3]
LEADS = 12


def counts(event: int, hits: int, errors: int, *, leads: int = LEADS, hour: int = 0) -> pd.DataFrame:
    """Sums of a forecast: at 0.5 mm/h CSI hits/(hits + errors), at 2 mm/h undefined; FSS 0.75.

    Errors over 100 pixels: ME 0.1, MAE 0.25, RMSE 0.5 mm/h.
    """
    common = dict.fromkeys(SUMS, 0.0) | {
        "store": "radar.zarr",
        "event": event,
        "t0": 100 * event + 12 * hour,
        "time": pd.Timestamp(f"2024-06-{event:02d}T{hour:02d}:00"),
        "fell_back": False,
        "error": 10.0,
        "absolute_error": 25.0,
        "squared_error": 25.0,
        "rapsd_count": 1,
        "rapsd_error": 0.125,
    }
    common |= {name: 1.0 if "error" in name else 4.0 for name in FSS_SUMS}
    common |= {power_column(of, length): 2.0 for of in ("forecast", "observed") for length in WAVELENGTHS_KM}
    rain = common | {
        "threshold": 0.5,
        "hits": hits,
        "misses": errors,
        "correct_negatives": 100 - hits - errors,
    }
    none = common | {"threshold": 2.0, "correct_negatives": 100}
    return pd.DataFrame([row | {"minutes": 5.0 * lead} for lead in range(1, leads + 1) for row in (rain, none)])


def write_both(
    folder: Path,
    tables: dict[str, pd.DataFrame],
    costs: dict[str, dict[str, float]] | None = None,
    networks: Sequence[str] = (),
) -> tuple[list[str], dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_table(
            tables,
            {name: pooled(sums) for name, sums in tables.items()},
            *(folder / "table.md", folder / "table.json"),
            rivals=PYSTEPS,
            networks=networks,
            costs=costs,
            notes=["A note."],
        )
    # No NaN in it: that is no JSON.
    data = json.loads((folder / "table.json").read_text(), parse_constant=pytest.fail)
    return (folder / "table.md").read_text().splitlines(), data


def cells(lines: list[str], name: str) -> dict[str, str]:
    """The first table's row of a method, by the heads of its columns."""
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    row = next(row for row in split if row[0] == name)
    return dict(zip(split[0], row, strict=True))


def test_the_difference_to_the_best_other_cell_is_a_column(tmp_path: Path) -> None:
    better = pd.concat([counts(1, 30, 10), counts(2, 10, 10)])
    worse = pd.concat([counts(1, 20, 20), counts(2, 0, 20)])
    worst = pd.concat([counts(1, 0, 40), counts(2, 0, 20)])
    tables = {"extrapolation": worse, "ours": better, "theirs": worse, "worst": worst}
    lines, data = write_both(tmp_path, tables, networks=["theirs", "worst"])
    assert cells(lines, "ours")["to theirs [95 %]"] == "+0.333 [+0.250 to +0.500]"
    assert cells(lines, "extrapolation")["to theirs [95 %]"].startswith("+0.000 [+0.000 to +0.000]")
    assert cells(lines, "theirs")["to theirs [95 %]"] == "–"
    assert data["rival"] == "theirs"
    ours = next(method for method in data["methods"] if method["method"] == "ours")
    assert ours["difference_to_rival"]["value"] == pytest.approx(1 / 3)


def test_table_by_hand(tmp_path: Path) -> None:
    better = pd.concat([counts(1, 30, 10), counts(2, 10, 10)])
    worse = pd.concat([counts(1, 20, 20), counts(2, 0, 20)])
    cost = {"better": {"parameters": 12345.0, "training_seconds": 67.0}}
    lines, data = write_both(tmp_path, {"extrapolation": worse, "better": better}, cost)
    # The best method comes first. Pooled: 40 / 60 and 20 / 60. Per event: 30/40 and 10/20, 20/40 and 0/20.
    assert lines[2].startswith("| better ")
    # The events, two blocks, differ by 10/40 and 10/20: a draw is one of them twice, or both: 20/60.
    assert cells(lines, "better") == {
        "method": "better",
        "mean CSI, pooled [95 %]": "0.667 [0.500 to 0.750]",
        "mean CSI, per event": "0.625 [0.500 to 0.750]",
        "to extrapolation [95 %]": "+0.333 [+0.250 to +0.500]",
        "frequency bias": "0.67 [0.67 to 0.67]",
        "FSS [95 %]": "nan",  # no rain of 2 mm/h was observed
        "RMSE": "0.500",
        "MAE": "0.250",
        "ME": "0.100",
        "RAPSD error": "0.125",
        "parameters": "12,345",
        "training seconds": "67",
    }
    assert cells(lines, "extrapolation")["to extrapolation [95 %]"] == "–"
    assert cells(lines, "extrapolation")["parameters"] == "–"
    for minutes in (30, 60):
        heads = "CSI · POD · FAR · ETS · HSS · bias · FSS 2 km · FSS 8 km · FSS 32 km"
        at = lines.index(f"{heads}, pooled, at {minutes} minutes:")
        assert lines[at + 2] == "| method | at least 0.5 mm/h | at least 2 mm/h |"
        # Of 200 pixels 40 hits, 20 misses, 140 dry: by chance 40 · 60 / 200 = 12 hits; HSS as Wilks gives it.
        ets, hss = (40 - 12) / (60 - 12), 2 * 40 * 140 / (60 * 160 + 40 * 140)
        said = f"0.67 · 0.67 · 0.00 · {ets:.2f} · {hss:.2f} · 0.67 · 0.75 · 0.75 · 0.75"
        assert lines[at + 4].startswith(f"| better | {said} | nan · nan · nan · ")
    for said in ("2 forecasts", "2 event(s)", "over 2 block(s) of at least 2 hours", "too narrow", "A note."):
        assert said in lines[-1]
    assert data["how"] == lines[-1]
    assert (data["reference"], data["blocks"]) == ("extrapolation", 2)

    scores = pd.DataFrame(data["scores"])
    assert sorted(scores["lead_minutes"].unique()) == list(range(5, 65, 5))
    at_hour = scores[(scores["lead_minutes"] == 60) & (scores["threshold"] == 0.5) & (scores["method"] == "better")]
    assert at_hour.loc[at_hour["pooling"] == "all events", "csi"].item() == pytest.approx(2 / 3)
    of_event = at_hour[at_hour["pooling"] == "one event"].set_index("event")["csi"]
    assert of_event.to_dict() == pytest.approx({1: 0.75, 2: 0.5})


def test_the_difference_is_to_the_best_of_pysteps(tmp_path: Path) -> None:
    tables = {"persistence": counts(1, 39, 1), "extrapolation": counts(1, 20, 20), "sprog": counts(1, 24, 16)}
    lines, data = write_both(tmp_path, tables)
    assert data["reference"] == "sprog"
    assert cells(lines, "extrapolation")["to sprog [95 %]"] == "-0.100, no interval from 1 block(s)"


def test_what_extrapolation_stood_in_for_is_told(tmp_path: Path) -> None:
    fallen = pd.concat([counts(1, 30, 10), counts(1, 30, 10, hour=1).assign(fell_back=True)])
    lines, data = write_both(tmp_path, {"sprog": fallen})
    assert "sprog could not forecast from 1 of them, and extrapolation stood in." in lines[-1]
    assert [method["fell_back"] for method in data["methods"]] == [1]


def test_an_event_without_rain_counts_in_no_mean(tmp_path: Path) -> None:
    lines, _ = write_both(tmp_path, {"one": pd.concat([counts(1, 30, 10), counts(2, 0, 0)])})
    assert cells(lines, "one")["mean CSI, pooled [95 %]"] == "0.750 [0.750 to 0.750]"
    assert cells(lines, "one")["mean CSI, per event"] == "0.750 [0.750 to 0.750]"
    lines, _ = write_both(tmp_path, {"extrapolation": counts(1, 0, 0), "one": counts(1, 0, 0)})
    assert cells(lines, "one")["mean CSI, pooled [95 %]"] == "nan"
    assert cells(lines, "one")["to pysteps"] == "–"


def test_lead_times_shorter_than_half_an_hour_have_a_table_at_the_last(tmp_path: Path) -> None:
    lines, _ = write_both(tmp_path, {"one": counts(1, 30, 10, leads=4)})
    assert any(line.endswith("pooled, at 20 minutes:") for line in lines)


def test_only_forecasts_that_all_methods_have_are_compared() -> None:
    three = pd.concat([counts(1, 30, 10), counts(1, 20, 20, hour=3), counts(2, 10, 10)])
    two = pd.concat([counts(2, 5, 5), counts(1, 0, 40, hour=3)])
    kept, notes = common_forecasts({"three": three, "two": two})
    for sums in kept.values():
        assert set(sums["time"].unique()) == {pd.Timestamp("2024-06-01T03:00"), pd.Timestamp("2024-06-02T00:00")}
        assert len(sums) == 2 * 2 * LEADS
    assert notes == ["1 forecasts that not every method has are left out."]
    assert common_forecasts({"three": three})[1] == []
    with pytest.raises(UserError, match=r"^no forecast that all of one, other have$"):
        common_forecasts({"one": counts(1, 1, 1), "other": counts(2, 1, 1)})


@pytest.mark.parametrize(
    ("leads", "shown"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 3, 4]), (12, [3, 6, 9, 12])]
)
def test_few_leads_are_even_and_end_with_the_last(leads: int, shown: list[int]) -> None:
    assert (few_leads(leads) + 1).tolist() == shown


def test_undefined_scores_are_drawn_too(tmp_path: Path) -> None:
    dry = counts(1, 0, 0)
    undefined = dry.assign(**dict.fromkeys(FSS_SUMS, 0.0), **dict.fromkeys(power_columns(), np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, draw in {"csi": draw_csi, "fss": draw_fss, "spectra": draw_spectra}.items():
            for wet in (True, False):
                tables = {"scs": undefined} | ({"persistence": counts(1, 30, 10)} if wet else {})
                if name != "spectra":
                    tables = {method: pooled(sums) for method, sums in tables.items()}
                draw(tables, tmp_path / f"{name}.png", BASELINES)
                assert imread(tmp_path / f"{name}.png").std() > 0.01


# The whole stage


def small_params(folder: Path, **changes: int) -> Params:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content["index"] |= {"inputs": 3, "leads": 4, "size": 32, "stride": 32, "train_wet_share": 0.0} | changes
    content["evaluate"] |= {"thresholds": [0.5, 2.0], "steps_members": 2}
    content["trained"] = ["scs", "convlstm"]
    YAML().dump(content, folder / "params.yaml")
    return read_params(folder / "params.yaml")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive, two untrained networks, and the scores of all methods."""
    folder = tmp_path_factory.mktemp("compare")
    params = small_params(folder)
    write_archive(folder / "radar.zarr", shape=(36, 44))
    networks = [
        write_model(folder / "models" / name, {"method": "network", "inputs": 3, "network": NETWORK}, seed=seed)
        for seed, name in enumerate(params.trained)
    ]
    (folder / "train").mkdir()
    (folder / "train" / "scs.json").write_text(json.dumps({"parameters": 123, "loss": 0.5}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        index({"radar": Path("radar.zarr")}, Path("windows.parquet"), params.index)
        for method in [*BASELINES, *(f"models/{network.name}" for network in networks)]:
            name = Path(method).name
            scores, examples = Path(f"scores/{name}.parquet"), Path(f"examples/{name}.nc")
            evaluation.main(method, Path("windows.parquet"), scores, examples, Path(f"{name}.json"))
    return folder


def test_the_stage_writes_two_tables_and_four_pictures(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        stage.main(Path("scores"), Path("examples"), Path("train"), out)
    files = ["csi.png", "fss.png", "maps.png", "spectra.png", "table.json", "table.md"]
    assert sorted(path.name for path in one.iterdir()) == files
    # DVC compares bytes: what depends on the outputs must not run again for nothing.
    assert [(one / file).read_bytes() for file in files] == [(two / file).read_bytes() for file in files]
    assert (one / "table.md").read_text() in capsys.readouterr().out
    data = json.loads((one / "table.json").read_text())
    scores = pd.DataFrame(data["scores"])
    assert set(scores["method"]) == {*BASELINES, *read_params().trained}
    assert scores.loc[scores["method"] == "persistence", "csi"].between(0, 1).any()
    assert {method["method"]: method.get("parameters") for method in data["methods"]}["scs"] == 123
    tall, wide = imread(one / "maps.png").shape[:2]
    assert 0.5 < tall / wide < 2.0  # seven rows of five maps, nearly square


def test_a_method_without_scores_is_named(place: Path, tmp_path: Path) -> None:
    params = small_params(tmp_path)
    (tmp_path / "scores").mkdir()
    for name in BASELINES:
        (tmp_path / "scores" / f"{name}.parquet").write_bytes((place / "scores" / f"{name}.parquet").read_bytes())
    with pytest.raises(UserError, match=r"^params\.yaml: trained: \w+ has no scores") as error:
        read_scores(tmp_path / "scores", params)
    assert "\n" not in str(error.value)


def test_the_example_is_the_forecast_that_each_method_makes_from_the_wettest_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    params = read_params()
    sums = pd.read_parquet("scores/persistence.parquet")
    # By hand: events observed at the lowest threshold, over lead times.
    lowest = sums[sums["threshold"] == 0.5].assign(observed=lambda rows: rows["hits"] + rows["misses"])
    totals = {t0: rows["observed"].sum() for t0, rows in lowest.groupby("t0")}
    t0 = max(totals, key=lambda start: totals[start])
    seen = open_frames(Path("radar.zarr"))["rainfall_flux"][t0 : t0 + 3].to_numpy()
    for name, method in {"steps": "steps", "scs": "models/scs"}.items():
        ((forecast, maps),) = read_examples(Path(f"examples/{name}.nc")).items()
        assert forecast == wettest(sums) == ("radar.zarr", t0)
        np.testing.assert_array_equal(maps, factory(method, params.evaluate)(1000.0, 300)(seen, 4))


def test_a_store_that_not_all_methods_have_is_no_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each method keeps an example a store, as one may be left out by another method."""
    monkeypatch.chdir(tmp_path)
    for name in ("dry", "wet"):
        write_archive(tmp_path / f"{name}.zarr", shape=(36, 44), events=1)
    index_of = small_params(tmp_path).index
    tables = [
        counts(1, 3, 1, leads=4).assign(store="dry.zarr", t0=2),
        counts(2, 30, 1, leads=4).assign(store="wet.zarr", t0=1),
    ]
    both = examples_of(lambda pixel_m, step_s: persistence, pd.concat(tables), index=index_of)
    assert list(both) == [("dry.zarr", 2), ("wet.zarr", 1)]
    newest = open_frames(tmp_path / "wet.zarr")["rainfall_flux"][3].to_numpy()
    np.testing.assert_array_equal(both["wet.zarr", 1], [newest] * 4)
    write_examples(both, tmp_path / "one.nc")
    again = read_examples(tmp_path / "one.nc")
    assert again.keys() == both.keys()
    np.testing.assert_array_equal(again["dry.zarr", 2], both["dry.zarr", 2])


def test_a_comparison_needs_no_model_no_torch_and_no_pysteps() -> None:
    code = "import sys, pipelines.nowcast.compare; print({'torch', 'pysteps', 'mlflow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"


def test_a_picture_is_whole_or_absent(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (tmp_path / "maps.png").write_text("the one before")
    params = read_params()
    forecast = wettest(pd.read_parquet("scores/persistence.parquet"))
    with pytest.raises(UserError, match=r"^greedy: no example from frame \d+ of radar\.zarr: evaluate it again$"):
        examples = {"greedy": {("radar.zarr", -1): np.zeros((4, 36, 44), np.float32)}}
        draw_example(forecast, examples, tmp_path / "maps.png", index=params.index)
    with pytest.raises(UserError, match=r"nobody\.nc: no examples of forecasts: .*No such file"):
        read_examples(tmp_path / "nobody.nc")
    assert [path.name for path in tmp_path.iterdir()] == ["maps.png"]
    assert (tmp_path / "maps.png").read_text() == "the one before"
