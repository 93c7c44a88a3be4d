"""The README, run: the whole road in a repository of its own, on a smaller archive."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import xarray as xr
import yaml
from clone import clean_environment, commit, copy_working_tree, registry, sh
from conftest import free_port

ROOT = Path(__file__).parents[1]
MODELS = ["scs", "scs_astsgd", "convlstm"]  # of those in params.yaml; the demo leaves out the second
BASELINES = ["persistence", "extrapolation", "steps", "climatology"]  # the demo leaves out the third
METHODS = [*MODELS, *BASELINES]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone as it would be of the working tree, with a smaller archive and short trainings."""
    folder = tmp_path_factory.mktemp("road") / "repository"
    copy_working_tree(folder)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["simulate"] |= {"events": 5, "hours": 1.5, "size": 64}
    params["index"] |= {"size": 32, "stride": 32, "leads": 6}
    params["simulate_video"] |= {"groups": 4, "clips": 1, "frames": 12}
    params["simulate_images"] |= {"scenes": 1, "objects": 3}
    action = "cnn_lstm"
    params["action_models"] = {action: params["action_models"][action] | {"depth": 5, "width": 4}}
    params["train_action"] |= {"steps": 2, "checkpoint_steps": 1, "batch_size": 2, "frames": 8}
    params["simulate_drives"] |= {"drives": 4, "seconds": 3}
    driving = "cnn_drive"
    params["driving_models"] = {driving: params["driving_models"][driving] | {"depth": 5, "width": 2, "frames": 4}}
    params["train_driving"] |= {"steps": 2, "checkpoint_steps": 1, "batch_size": 2}
    params["evaluate_driving"] |= {"history": 6}
    outline = params["outline_models"]["scs"] | {"depth": 2, "channels": 4, "features": 4, "width": 2}
    params["outline_models"] = {"scs": outline}
    params["train_outline"] |= {"steps": 2, "checkpoint_steps": 1, "batch_size": 2, "max_vertices": 12}
    params["train"] |= {"steps": 6, "checkpoint_steps": 3, "validation_windows": 4}
    params["models"] = {name: params["models"][name] | {"widths": [8]} for name in MODELS}
    params |= {"baselines": BASELINES, "trained": MODELS, "trained_action": [action], "trained_driving": [driving]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    commit(folder)
    return folder


@pytest.fixture(scope="module")
def demo(repository: Path) -> str:
    """What ``make demo`` says."""
    # The environment is made already: `make` is told that its stamp is new.
    return sh("make --assume-old=.venv/installed demo", repository).stdout


@pytest.fixture(scope="module")
def reproduced(demo: str, repository: Path) -> str:
    """What ``dvc repro`` says after it: what the demo leaves out."""
    return sh("dvc repro", repository).stdout


def readme_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


TESTED = {
    "git clone <this repository> && cd <its folder>": "by the fixture `repository`, and by whoever runs this",
    "make demo": "test_demo_says_where_everything_is",
    "dvc repro": "test_repro_again_changes_nothing",
    "dvc metrics show": "test_metrics",
    "dvc plots show": "test_plots_need_nothing_from_elsewhere",
    "make ui": "test_ui",
    "dvc exp run -S train.steps=400 -S models.scs_stsgd.switch.p=0.25": "test_experiment_moves_no_alias",
    "dvc exp show": "test_experiment_moves_no_alias",
    "dvc metrics diff": "test_experiment_moves_no_alias",
    "dvc exp run -S ingest_radar.sources.radar=/path/to/radar -S index.leads=8 "
    "-S index.max_event_hours=1.1": "test_own_radar",
    "scs evaluate data/raw/simulated/20240601 --model persistence --model extrapolation "
    "--out data/evaluated/table.json": "test_evaluate_any_data",
    "scs forecast data/raw/simulated": "test_demo_says_where_everything_is",
    "scs forecast data/raw/simulated --model models:/radar-nowcast/2": "test_forecast_by_a_version",
    "scs forecast data/raw/simulated --model extrapolation": "test_demo_shows_a_forecast_before_it_trains",
    'scs promote models:/radar-nowcast/2 --reason "a trial"': "test_promote_and_roll_back_by_hand",
    "scs rollback": "test_promote_and_roll_back_by_hand",
    "scs champions": "test_promote_and_roll_back_by_hand",
    "make demo-video": "test_video",
    "scs recognize data/raw/video/MoveLeft/v_MoveLeft_g01_c01.avi": "test_video",
    "make demo-outline": "test_outline",
    "scs annotate data/raw/images/leftImg8bit/val/ground12/ground12_000000_000019_leftImg8bit.png "
    "--box 274,55,359,135": "test_outline",
    "make demo-driving": "test_driving",
    "scs steer data/raw/drives/1 --out angles.csv": "test_driving",
    "make serve": "tests/flows",
    "scs chains": "test_chains_and_describe",
    "scs describe scs_stsgd": "test_chains_and_describe",
    "scs replay data/raw/simulated/20240601 data/inbox/simulated": "tests/pipelines/operation/test_replay.py",
}


def test_every_command_of_the_readme_is_run_by_a_test() -> None:
    assert sorted(readme_commands()) == sorted(TESTED)


def test_demo_says_where_everything_is(repository: Path, demo: str) -> None:
    for said in ("data/comparison/table.md", "data/comparison/csi.png", "data/comparison/maps.png", "mlflow/mlflow.db"):
        assert said in demo
        assert (repository / said).stat().st_size > 0
    (forecast,) = repository.glob("data/forecasts/*/forecast.nc")
    with xr.open_dataset(forecast) as dataset:
        assert dataset.attrs["model_version"] == str(registry(repository)["aliases"]["champion"])
        assert dataset.sizes["lead_time"] == 12
    known = registry(repository)
    assert known["1"]["model"] == "extrapolation"
    assert str(known["aliases"]["champion"]) == "1"  # so few events never promote a network
    of_scs = [tags for tags in known.values() if tags.get("model") == "scs"]  # of experiments, too
    lock = yaml.safe_load((repository / "dvc.lock").read_text())
    stored = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])}
    assert stored["data/zarr/radar.zarr"] in {tags["dvc_md5.store"] for tags in of_scs}
    assert all(len(tags["code_commit"].removesuffix("-dirty")) == 40 for tags in of_scs)


def test_demo_shows_a_forecast_before_it_trains(repository: Path, demo: str) -> None:
    (first,) = repository.glob("data/first_forecast/*/forecast.nc")
    with xr.open_dataset(first) as dataset:
        assert dataset.attrs["method"] == "extrapolation"
    assert demo.index(str(first.relative_to(repository))) < demo.index("Running stage 'ingest_radar@radar'")


def test_demo_compares_two_networks_and_says_that_repro_does_all(demo: str, reproduced: str, repository: Path) -> None:
    assert {name for name in METHODS if f"| {name} |" in demo} == {*METHODS} - {"steps", "scs_astsgd"}
    assert "Not evaluated yet: steps, scs_astsgd; `dvc repro` does that." in demo
    table = (repository / "data/comparison/table.md").read_text()
    assert table in reproduced
    assert all(f"| {name} |" in table for name in METHODS)
    assert "Not evaluated" not in table
    known = registry(repository)
    assert {known[v]["model"] for v in known if v not in ("1", "aliases")} == set(MODELS)


def test_repro_again_changes_nothing(reproduced: str, repository: Path) -> None:
    lock = (repository / "dvc.lock").read_bytes()
    before = registry(repository)
    said = sh("dvc repro", repository).stdout
    assert sorted(re.findall(r"Running stage '(.*)'", said)) == [
        *("register", "register_action", "register_driving", "register_outline")
    ]
    said = sh("make --assume-old=.venv/installed demo", repository).stdout
    assert re.findall(r"Running stage '(.*)'", said) == ["register"]
    assert (repository / "dvc.lock").read_bytes() == lock
    assert registry(repository) == before


def test_video(demo: str, repository: Path) -> None:
    said = sh("make --assume-old=.venv/installed demo-video", repository).stdout
    for file in ("data/action/comparison/table.md", "data/action/comparison/accuracy.png"):
        assert file in said
        assert (repository / file).stat().st_size > 0
    assert list((repository / "data/action/confusion").glob("*.png"))
    recognized = sh("scs recognize data/raw/video/MoveLeft/v_MoveLeft_g01_c01.avi", repository).stdout.splitlines()
    classes = {path.name for path in (repository / "data/raw/video").iterdir()}
    assert len(recognized) == 6
    assert {line.split()[1] for line in recognized[1:]} <= classes


def test_outline(repository: Path) -> None:
    said = sh("make --assume-old=.venv/installed demo-outline", repository).stdout
    assert "data/outline/comparison/table.md" in said
    assert "| traced mask of scs |" in (repository / "data/outline/comparison/table.md").read_text()
    assert (repository / "data/outline/examples/scs.png").stat().st_size > 0
    (command,) = re.findall("scs annotate .*", said)
    annotated = sh(command, repository).stdout.splitlines()
    assert annotated[0] == "1 objects in 1 images, by scs, version 1"
    (shape,) = json.loads((repository / annotated[1]).read_text())["shapes"]
    assert 3 <= len(shape["points"]) <= 12


def test_driving(repository: Path) -> None:
    said = sh("make --assume-old=.venv/installed demo-driving", repository).stdout
    assert "it drives no car" in said
    assert "| last known angle, 4 frames |" in (repository / "data/driving/comparison/table.md").read_text()
    assert list((repository / "data/driving/examples").glob("*.png"))
    sh("scs steer data/raw/drives/1 --out angles.csv", repository)
    assert (repository / "angles.csv").read_text().count("\n") == 1 + 30


def test_plots_need_nothing_from_elsewhere(repository: Path, reproduced: str) -> None:
    sh("dvc plots show", repository)
    page = (repository / "dvc_plots/index.html").read_text()
    assert "csi.png" in page and "reliability.png" in page
    assert "<script" not in page and "//cdn" not in page
    assert all((repository / "dvc_plots" / path).exists() for path in re.findall(r'<img[^>]* src="([^"]+)"', page))


def test_metrics(reproduced: str, repository: Path) -> None:
    shown = json.loads(sh("dvc metrics show --json", repository).stdout)
    files = next(iter(shown.values()))["data"]
    assert 0 < files["data/metrics/test/extrapolation.json"]["data"]["csi_mean"] <= 1
    assert "csi_1mm_30min" in files["data/metrics/test/scs_astsgd.json"]["data"]
    sh("dvc metrics show", repository)


def test_a_registry_that_was_lost_is_filled_again(reproduced: str, repository: Path) -> None:
    shutil.move(repository / "mlflow", repository / "mlflow-before")
    try:
        sh("dvc repro register", repository)
        known = registry(repository)
        assert {known[v]["model"] for v in known if v != "aliases"} == {"extrapolation", *MODELS}
        assert known["1"]["model"] == "extrapolation"
        assert "champion" in known["aliases"]
    finally:
        shutil.rmtree(repository / "mlflow")
        shutil.move(repository / "mlflow-before", repository / "mlflow")


def test_forecast_by_a_version(demo: str, repository: Path) -> None:
    sh("scs forecast data/raw/simulated --model models:/radar-nowcast/2 --out by_version", repository)
    (forecast,) = repository.glob("by_version/*/forecast.nc")
    with xr.open_dataset(forecast) as dataset:
        assert dataset.attrs["model_version"] == "2"
        assert dataset.attrs["model_sha256"] == registry(repository)["2"]["model_sha256"]


def test_promote_and_roll_back_by_hand(demo: str, repository: Path) -> None:
    before = registry(repository)["aliases"]
    sh('scs promote models:/radar-nowcast/2 --reason "a trial"', repository)
    assert str(registry(repository)["aliases"]["champion"]) == "2"
    sh("scs rollback", repository)
    assert registry(repository)["aliases"] == before
    first, trial, now = sh("scs champions", repository).stdout.splitlines()
    assert "by first: " in first
    assert trial.startswith("version 2, ")
    assert trial.endswith(": a trial")
    assert now.startswith("version 1, ")
    periods = json.loads(sh("scs champions --json", repository).stdout)
    assert [(one["version"], one["by"]) for one in periods] == [("1", "first"), ("2", "promote"), ("1", "rollback")]
    assert (
        periods[1]["words"] == "a trial" and periods[1]["until"] == periods[2]["since"] and periods[2]["until"] is None
    )


def test_evaluate_any_data(demo: str, repository: Path) -> None:
    models = "--model persistence --model extrapolation"
    said = sh(f"scs evaluate data/raw/simulated/20240601 {models} --out data/evaluated/table.json", repository).stdout
    assert (repository / "data/evaluated/table.md").read_text() in said
    table = json.loads((repository / "data/evaluated/table.json").read_text())
    assert {method["method"] for method in table["methods"]} == {"persistence", "extrapolation"}


def test_chains_and_describe(repository: Path) -> None:
    assert "data/chains/chains.png" in sh("scs chains", repository).stdout
    assert (repository / "data/chains/chains.csv").read_text().count("\n") == 1 + 17 * 20 * 6
    assert re.search(r"live parameters +[\d,]+", sh("scs describe convlstm", repository).stdout)


def test_ui(demo: str, repository: Path) -> None:
    port = str(free_port())
    command = ["make", "--assume-old=.venv/installed", "ui"]
    environment = clean_environment(repository) | {"MLFLOW_PORT": port}
    with subprocess.Popen(command, cwd=repository, env=environment, start_new_session=True) as ui:
        try:
            for _ in range(3000):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
                        assert answer.status == 200
                    break
                except OSError:
                    assert ui.poll() is None
                    time.sleep(0.1)
            else:
                pytest.fail("the UI doesn't answer")
        finally:
            os.killpg(ui.pid, signal.SIGTERM)


def test_experiment_moves_no_alias(reproduced: str, repository: Path) -> None:
    before = registry(repository)
    sh("dvc exp run --name p25 -S train.steps=9 -S models.scs_astsgd.switch.p=0.25", repository)
    after = registry(repository)
    assert after["aliases"] == before["aliases"]
    assert len(after) == len(before) + len(MODELS)  # all networks were trained for longer
    assert "p25" in sh("dvc exp show --csv", repository).stdout
    changed = json.loads(sh("dvc metrics diff --json", repository).stdout)
    assert changed
    sh("git checkout -q params.yaml && dvc repro", repository)


def test_own_radar(reproduced: str, repository: Path, tmp_path: Path) -> None:
    """One event in a folder outside the repository, as `dvc exp run -S` is told of it."""
    (event, *_) = sorted((repository / "data/raw/simulated").iterdir())
    shutil.copytree(event, tmp_path / "radar")
    (tmp_path / "radar" / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    # 18 frames of 5 minutes: three events of 6 frames.
    shorter = "-S index.inputs=2 -S index.leads=2 -S index.max_event_hours=0.5"
    sh(f"dvc exp run -S ingest_radar.sources.radar={tmp_path}/radar {shorter}", repository)
    assert "broken.h5" in (repository / "data/quality/radar.quarantine.csv").read_text()
    with xr.open_zarr(repository / "data/zarr/radar.zarr", consolidated=False) as frames:
        assert frames.sizes["time"] == 18
    sh("git checkout -q params.yaml && dvc repro", repository)
