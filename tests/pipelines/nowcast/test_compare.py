"""The comparison's files, and its pictures whole or absent."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from archive import write_archive
from matplotlib.image import imread
from ruamel.yaml import YAML
from small_model import NETWORK, write_model
from sums import counts

from pipelines.common.errors import UserError
from pipelines.nowcast import compare as stage
from pipelines.nowcast import evaluate as evaluation
from pipelines.nowcast.compare import draw_example
from pipelines.nowcast.hindcast import examples_of
from pipelines.nowcast.index import index
from pipelines.nowcast.methods.extrapolation import persistence
from pipelines.nowcast.methods.interface import factory
from pipelines.nowcast.scores import read_examples, read_scores, wettest, write_examples
from pipelines.params.read import Params, read_params
from pipelines.radar.store import open_frames

ROOT = Path(__file__).parents[3]


def small_params(folder: Path, **changes: int) -> Params:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content["index"] |= {"inputs": 3, "leads": 4, "size": 32, "stride": 32, "train_wet_share": 0.0} | changes
    content["evaluate"] |= {"thresholds": [0.5, 2.0], "steps_members": 2, "members": 3, "images": True}
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
        for method in [*params.baselines, *(f"models/{network.name}" for network in networks)]:
            name = Path(method).name
            tables = [Path(f"{of}/{name}.parquet") for of in ("scores", "probabilities", "members")]
            outs = (*tables, Path(f"examples/{name}.nc"), Path(f"{name}.json"))
            evaluation.main(method, Path("windows.parquet"), *outs)
    return folder


def test_the_stage_writes_its_tables_and_pictures(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        stage.main(*(Path(of) for of in ("scores", "probabilities", "members", "examples", "train")), out)
    pictures = ["brier_skill.png", "crps.png", "csi.png", "fss.png", "maps.png", "reliability.png", "spectra.png"]
    files = [*pictures, "table.json", "table.md"]
    assert sorted(path.name for path in one.iterdir()) == files
    # DVC compares bytes: what depends on the outputs must not run again for nothing.
    assert [(one / file).read_bytes() for file in files] == [(two / file).read_bytes() for file in files]
    assert (one / "table.md").read_text() in capsys.readouterr().out
    data = json.loads((one / "table.json").read_text())
    scores = pd.DataFrame(data["scores"])
    assert set(scores["method"]) == {*read_params().baselines, *read_params().trained}
    assert scores.loc[scores["method"] == "persistence", "csi"].between(0, 1).any()
    assert {method["method"]: method.get("parameters") for method in data["methods"]}["scs"] == 123
    of_probabilities = {method["method"]: method["crps"] for method in data["probabilities"]["methods"]}
    assert of_probabilities.keys() == set(scores["method"])
    # Of 0 and 1 it is the mean absolute error between the lowest and the highest rate, as far as trapezoids go.
    mae = {method["method"]: method["mae"] for method in data["methods"]}
    assert of_probabilities["persistence"]["value"] == pytest.approx(mae["persistence"], rel=0.15)
    members = data["members"]
    of_methods = pd.DataFrame(members["scores"]).groupby("method")
    assert of_methods.ngroups == 4  # steps draws its own, and of three baselines' probabilities members are drawn
    error = of_methods["error"].mean()
    rmse = {method["method"]: method["rmse"] for method in data["methods"]}
    assert error["steps"] == pytest.approx(rmse["steps"], rel=0.1)  # of the mean, where STEPS itself could forecast
    assert {row["method"] for row in members["areas"]["methods"]} == {*error.index}
    assert {row["method"] for row in data["images"]["methods"]} == set(scores["method"])
    assert "## Echo images" in (one / "table.md").read_text()
    assert "## Members" in (one / "table.md").read_text()
    tall, wide = imread(one / "maps.png").shape[:2]
    assert 0.5 < tall / wide < 2.0  # seven rows of five maps, nearly square


def test_every_field_of_a_run_has_a_row_and_what_older_code_scored_no_probabilities(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    (tmp_path / "scores").mkdir()
    for name in ("persistence", "extrapolation"):
        shutil.copy(f"scores/{name}.parquet", tmp_path / "scores")
    sums = pd.read_parquet("scores/scs.parquet")
    other = pd.read_parquet("scores/persistence.parquet").assign(field="median")
    pd.concat([sums, other]).to_parquet(tmp_path / "scores" / "scs.parquet")
    stage.main(tmp_path / "scores", *[tmp_path / "none"] * 2, Path("examples"), Path("train"), tmp_path)
    text, data = (tmp_path / "table.md").read_text(), json.loads((tmp_path / "table.json").read_text())
    mae = {method["method"]: method["mae"] for method in data["methods"]}
    assert mae["scs (median)"] == mae["persistence"] != mae["scs"]
    assert "In brackets: another field of the same run." in text
    assert "Probabilities" not in text and "probabilities" not in data
    assert "Members" not in text and "members" not in data
    assert not (tmp_path / "crps.png").exists()


def test_what_has_no_scores_is_left_out_but_for_what_a_comparison_is_of(place: Path, tmp_path: Path) -> None:
    params = small_params(tmp_path)
    (tmp_path / "scores").mkdir()
    first = params.trained[0]
    for name, refused in (
        ("sprog", "no scores of extrapolation"),
        ("extrapolation", f"no scores of any of params.yaml's trained: {', '.join(params.trained)}"),
    ):
        shutil.copy(place / "scores" / f"{name}.parquet", tmp_path / "scores")
        with pytest.raises(UserError, match=refused) as error:
            read_scores(tmp_path / "scores", params)
        assert "\n" not in str(error.value)
    shutil.copy(place / "scores" / "sprog.parquet", tmp_path / "scores" / f"{first}.parquet")
    assert list(read_scores(tmp_path / "scores", params)) == ["extrapolation", "sprog", first]


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
        np.testing.assert_array_equal(
            maps, factory(method, params.evaluate, params.index.rates, Path("climatology.json"))(1000.0, 300)(seen, 4)
        )


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
