import hashlib
import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from archive import write_archive
from safetensors.torch import save_file
from small_training import small_params

from pipelines.common.errors import UserError
from pipelines.common.provenance import sha256
from pipelines.nowcast.archive_evaluation import load_method
from pipelines.nowcast.evaluate import evaluate
from pipelines.nowcast.index import index
from pipelines.nowcast.methods.interface import FALLBACKS, ForecasterFactory, factory, factory_from, load_forecaster
from pipelines.nowcast.methods.lagrangian import advect, motion
from pipelines.nowcast.methods.normalisation import thresholds
from pipelines.nowcast.register import choose, main, register
from pipelines.nowcast.registered_model import load
from pipelines.nowcast.scores import by_field, read_probabilities
from pipelines.nowcast.specification import NAME, RADAR
from pipelines.params.read import Params
from pipelines.tracking import decisions
from pipelines.tracking.store import connect
from pipelines.verification.probabilities import crps, probability_scores
from pipelines.verification.scoring import mean_csi
from scs_model import EncoderForecaster

STORE, WINDOWS, MODELS = Path("radar.zarr"), Path("windows.parquet"), Path("models")
PROBABILITIES = Path("probabilities")  # folder of the tables of probabilities


def write_model(name: str, params: Params, folder: Path, seed: int = 0, rates: list[float] | None = None) -> None:
    """Write an untrained network, which forecasts persistence plus a little that depends on ``seed``.

    With ``rates`` it gives their probabilities.
    """
    torch.manual_seed(seed)
    shape = {**params.models[name].network, "leads": params.index.leads}
    network = EncoderForecaster(**shape, thresholds=thresholds(rates) if rates else None)
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.001 * torch.randn(parameter.shape)
    save_file(network.state_dict(), folder / "weights.safetensors")
    description = {
        "method": "network",
        "name": name,
        "inputs": params.index.inputs,
        "step_seconds": 300,
        "network": shape,
        "rates": rates,
    }
    (folder / "model.json").write_text(json.dumps(description))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params, dict[str, pd.DataFrame]]:
    """A folder with store, index and two models, the parameters, and what each method scored."""
    folder = tmp_path_factory.mktemp("archive")
    params = small_params(folder)
    (folder / "dvc.yaml").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_archive(STORE)
        index({"radar": STORE}, WINDOWS, params.index)

        def of(model: str) -> ForecasterFactory:
            return factory(model, params.evaluate, params.index.rates, WINDOWS.with_name("climatology.json"))

        factories = {name: of(name) for name in FALLBACKS}
        for name in params.trained:
            write_model(name, params, MODELS / name)
            factories[name] = of(str(MODELS / name))
        tables = {}
        PROBABILITIES.mkdir()
        for name, make in factories.items():
            both = evaluate(make, name, WINDOWS, Path(name), index=params.index, params=params.evaluate)
            tables[name] = both[0]
            both[1].to_parquet(PROBABILITIES / f"{name}.parquet")
    return folder, params, tables


@pytest.fixture
def workplace(
    archive: tuple[Path, Params, dict[str, pd.DataFrame]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Params, dict[str, pd.DataFrame]]:
    """The archive as working directory, with an MLflow store of the test's own."""
    folder, params, tables = archive
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return params, tables


def versions() -> list[str]:
    return sorted(version.version for version in connect(NAME).search_model_versions(f"name = '{NAME}'"))


def test_extrapolation_is_version_1_and_the_first_champion(
    workplace: tuple[Params, dict[str, pd.DataFrame]],
) -> None:
    params, tables = workplace
    made = register(tables, WINDOWS, MODELS, params=params)
    assert made["extrapolation"].number == "1"
    choose(WINDOWS, tables, made, params=params)
    champion = load("models:/radar-nowcast@champion")
    assert (champion.method, champion.version) == ("extrapolation", "1")
    # Untrained networks forecast about persistence, and the cells move: extrapolation stays.
    assert RADAR.find_alias("challenger").number in {made[name].number for name in params.trained}
    tags, metrics = RADAR.tags_and_metrics(made["extrapolation"])
    assert "first champion" in tags["champion_because"]
    assert float(tags["csi_mean"]) == pytest.approx(mean_csi(tables["extrapolation"]), abs=1e-4)
    assert metrics["csi_mean"] == pytest.approx(mean_csi(tables["extrapolation"]))


def test_again_makes_nothing_new(workplace: tuple[Params, dict[str, pd.DataFrame]]) -> None:
    params, tables = workplace
    first = register(tables, WINDOWS, MODELS, params=params)
    again = register(tables, WINDOWS, MODELS, params=params)
    assert {name: version.number for name, version in first.items()} == {
        name: version.number for name, version in again.items()
    }
    assert len(versions()) == len(params.trained) + 1
    assert len(mlflow.search_runs(experiment_names=[NAME], output_format="list")) == len(params.trained) + 1


def test_each_version_has_a_card_that_is_written_once(workplace: tuple[Params, dict[str, pd.DataFrame]]) -> None:
    params, tables = workplace
    probabilities = read_probabilities(PROBABILITIES, tables)
    made = register(tables, WINDOWS, MODELS, params=params, probabilities=probabilities)

    def card(name: str) -> str:
        return connect(NAME).get_model_version(NAME, made[name].number).description

    of_network = card("scs")
    for said in (
        f"{mean_csi(tables['scs']):.3f}",
        f"CRPS [95 %]: {crps(probability_scores(probabilities['scs'])).mean():.4f}, no interval from 1 block(s)",
        "CRPS minus extrapolation's [95 %], less is better: ",
        hashlib.sha256(WINDOWS.read_bytes()).hexdigest(),
        *tables["scs"]["event"].unique(),
        "no interval from 1 block(s)",
        f"looks at {params.index.inputs} frames, 300 s apart",
        "training: unknown",  # an imported model
    ):
        assert str(said) in of_network
    assert of_network.startswith("Network of scs cells, scs: rain rate for ")
    assert card("extrapolation").startswith("Extrapolation by pysteps, the newest frame moved with the echo: rain rate")
    assert f"{mean_csi(tables['extrapolation']):.3f}" in card("extrapolation")
    version = connect(NAME).get_model_version(NAME, made["scs"].number)
    assert connect(NAME).get_run(version.run_id).data.tags["mlflow.note.content"] == of_network
    assert version.tags.keys() == {"model", "model_sha256", "csi_mean", "crps"}  # of a trained one cell, switch, data
    assert "training" not in card("extrapolation")
    loaded = load(f"models:/{NAME}/{made['scs'].number}")
    leads = loaded.description.network.leads  # type: ignore[union-attr]
    assert 4 * leads < loaded.bytes_a_pixel["forecast"] < 3000  # its fields, and some
    assert loaded.bytes_a_pixel["moving"] > 8  # two numbers of motion
    assert load(f"models:/{NAME}/{made['extrapolation'].number}").bytes_a_pixel == {}
    connect(NAME).update_model_version(NAME, made["scs"].number, "by hand")
    register(tables, WINDOWS, MODELS, params=params)
    assert card("scs") == "by hand"


def test_an_experiment_moves_no_alias_and_leaves_no_decision(
    workplace: tuple[Params, dict[str, pd.DataFrame]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, tables = workplace
    monkeypatch.setenv("DVC_EXP_NAME", "brave-owl")
    for name in (*params.baselines, *params.trained):
        tables.get(name, tables["persistence"]).to_parquet(tmp_path / f"{name}.parquet")
    main(WINDOWS, tmp_path, PROBABILITIES, MODELS)
    run = connect(NAME).get_run(str(connect(NAME).get_model_version(NAME, "1").run_id))
    scores = probability_scores(pd.read_parquet(PROBABILITIES / "extrapolation.parquet"))
    assert run.data.metrics["crps"] == pytest.approx(crps(scores).mean())
    assert connect(NAME).get_registered_model(NAME).aliases == {}
    assert decisions.read_decisions(RADAR) == []


def test_a_champion_of_another_day_is_scored_anew_on_the_same_forecasts(
    workplace: tuple[Params, dict[str, pd.DataFrame]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, tables = workplace
    made = register(tables, WINDOWS, MODELS, params=params)
    connect(NAME).set_registered_model_alias(NAME, "champion", made["scs"].number)
    # The next training made other models: the champion is none of them.
    for name in params.trained:
        write_model(name, params, tmp_path / name, seed=7)
    others = register(tables, WINDOWS, tmp_path, params=params)
    assert others["scs"].number != made["scs"].number
    choose(WINDOWS, tables | dict.fromkeys(params.models, tables["persistence"]), others, params=params)
    said = capsys.readouterr().out
    assert f"version {made['scs'].number}" in said
    assert f"{mean_csi(tables['scs']):.4f}" in said
    assert "it may have seen these test events" in said
    # Where networks give probabilities, by CRPS: here persistence's, said not to be of 0 and 1 alone.
    of_persistence = pd.read_parquet(PROBABILITIES / "persistence.parquet").assign(spread=1.0)
    probabilities = read_probabilities(PROBABILITIES, ["extrapolation", "scs"])
    networks = dict.fromkeys(params.trained, of_persistence)
    choose(WINDOWS, tables, others, params=params, probabilities=probabilities | networks)
    said = capsys.readouterr().out
    values = [crps(probability_scores(of)).mean() for of in (of_persistence, probabilities["scs"])]
    assert f": CRPS {values[0]:.4f} against the champion's {values[1]:.4f} and extrapolation's " in said


def test_a_network_of_probabilities_is_registered_and_chosen_by_their_crps(
    workplace: tuple[Params, dict[str, pd.DataFrame]], tmp_path: Path
) -> None:
    """A real one, from forecast to alias; champion of one day, it is scored anew on the next."""
    params, tables = workplace
    first, other = params.trained[:2]
    probabilities = read_probabilities(PROBABILITIES, [*FALLBACKS, first, other])
    write_model(first, params, tmp_path / first, rates=params.index.rates)
    forecaster, description = load_forecaster(tmp_path / first)
    make = factory_from(forecaster, description)
    both = evaluate(make, first, WINDOWS, tmp_path / "work", index=params.index, params=params.evaluate)
    shutil.copytree(MODELS / other, tmp_path / other)
    only = params.model_copy(update={"trained": [first, other]})
    of = probabilities | {first: both[1]}
    made = register(tables | by_field(first, both[0]), WINDOWS, tmp_path, params=only, probabilities=of)
    choose(WINDOWS, tables, made, params=only, probabilities=of)
    assert RADAR.find_alias("challenger").number == made[first].number
    tags, _ = RADAR.tags_and_metrics(made[first])
    value = crps(probability_scores(both[1])).mean()
    assert tags["challenger_because"] == f"best CRPS of the networks, {value:.4f}"
    assert f"CRPS [95 %]: {value:.4f}, " in connect(NAME).get_model_version(NAME, made[first].number).description

    connect(NAME).set_registered_model_alias(NAME, "champion", made[first].number)
    present = {name: version for name, version in made.items() if name != first}
    of[other] = of[other].assign(spread=1.0)
    choose(WINDOWS, tables, present, params=only.model_copy(update={"trained": [other]}), probabilities=of)
    assert f"against the champion's {value:.4f} and" in decisions.read_decisions(RADAR)[-1].words


def test_a_champion_that_can_t_be_scored_stays_and_is_told_of(
    workplace: tuple[Params, dict[str, pd.DataFrame]], capsys: pytest.CaptureFixture[str]
) -> None:
    params, tables = workplace
    made = register(tables, WINDOWS, MODELS, params=params)
    connect(NAME).set_registered_model_alias(NAME, "champion", made["scs"].number)
    present = {name: version for name, version in made.items() if name != "scs"}
    fewer = params.model_copy(
        update={
            "trained": [name for name in params.trained if name != "scs"],
            "index": params.index.model_copy(update={"inputs": params.index.inputs - 1}),
        }
    )
    choose(WINDOWS, tables, present, params=fewer)
    assert RADAR.find_alias("champion").number == made["scs"].number
    assert f"the model wants {params.index.inputs} frames" in capsys.readouterr().out


def test_a_registered_model_needs_nothing_but_itself(workplace: tuple[Params, dict[str, pd.DataFrame]]) -> None:
    params, tables = workplace
    made = register(tables, WINDOWS, MODELS, params=params)
    uri = f"models:/{NAME}/{made['scs'].number}"
    ours = load(uri)
    assert ours.sha256 == sha256(MODELS / "scs")
    rain_rate = np.random.default_rng(1).gamma(0.5, 4.0, (4, 30, 35)).astype(np.float32)
    rain_rate[:, :3] = np.nan
    forecast = ours.forecaster(rain_rate, 5)
    assert forecast.shape == (5, 30, 35)
    moved = advect(rain_rate[-1:].repeat(5, axis=0), motion(rain_rate))
    np.testing.assert_array_equal(np.isnan(forecast), np.isnan(moved) | np.isnan(rain_rate[-1]))
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(uri).predict(rain_rate, params={"leads": 5}), forecast)

    files = [path for path in Path(mlflow.artifacts.download_artifacts(uri)).rglob("*") if path.is_file()]
    assert any(path.name == "weights.safetensors" for path in files)
    assert any(path.name == "network.py" for path in files)
    assert not any(path.suffix in {".pkl", ".pickle", ".pt", ".pth"} for path in files)


@pytest.mark.parametrize(
    "uri",
    ["models:/radar-nowcast@nobody", "models:/radar-nowcast/99", "models:/nothing/1", "no/such/folder", "runs:/a/b"],
)
def test_a_model_that_is_not_there_is_one_line(workplace: tuple[Params, dict[str, pd.DataFrame]], uri: str) -> None:
    with pytest.raises(UserError, match=r"no such (model|folder)") as error:
        load(uri)
    assert uri in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_that_changed_is_loaded_by_no_name(
    workplace: tuple[Params, dict[str, pd.DataFrame]], caplog: pytest.LogCaptureFixture
) -> None:
    params, tables = workplace
    made = register(tables, WINDOWS, MODELS, params=params)["extrapolation"]
    uri = f"models:/{NAME}/{made.number}"
    client = connect(NAME)
    client.set_registered_model_alias(NAME, "mine", made.number)
    run = client.get_model_version(NAME, made.number).run_id
    (kept,) = Path(mlflow.artifacts.download_artifacts(uri)).rglob("model.json")
    (kept.parent / "more.json").write_text("{}")  # a file that is new changes it as well
    for name in (uri, f"models:/{NAME}@mine", f"runs:/{run}/model"):
        with pytest.raises(UserError, match="changed since it was registered"):
            load(name)
        with pytest.raises(UserError, match="changed since it was registered"):
            load_method(name, params)
    client.delete_model_version_tag(NAME, made.number, "model_sha256")  # as versions of others have none
    assert load(uri).version == made.number
    assert caplog.messages == [f"{uri}: without a tag model_sha256, nobody knows whether it is what was registered"]


@pytest.mark.parametrize(
    "damaged",
    [
        "flavors: [",
        "flavors: {python_function: {data: /}}",
        "flavors: {python_function: {}}",
        "flavors: 3",
        "no_such_key: 1",
        "[]",
        "",
        "\0",
    ],
)
def test_a_damaged_mlmodel_is_a_change(damaged: str, workplace: tuple[Params, dict[str, pd.DataFrame]]) -> None:
    params, tables = workplace
    made = register(tables, WINDOWS, MODELS, params=params)["extrapolation"]
    uri = f"models:/{NAME}/{made.number}"
    (kept,) = Path(mlflow.artifacts.download_artifacts(uri)).rglob("MLmodel")
    kept.write_text(damaged)
    for use in (lambda: load(uri), lambda: RADAR.check(made)):
        with pytest.raises(UserError, match=rf"^{uri}: changed since it was registered: it") as refusal:
            use()
        assert "\n" not in str(refusal.value)


def test_a_foreign_model_is_refused_and_its_pickle_left_alone(
    workplace: tuple[Params, dict[str, pd.DataFrame]], tmp_path: Path
) -> None:
    connect(NAME)

    class Foreign(mlflow.pyfunc.PythonModel):
        def __reduce__(self) -> object:
            return (Path.touch, (tmp_path / "unpickled",))

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return model_input

    mlflow.pyfunc.save_model(tmp_path / "foreign", python_model=Foreign(), pip_requirements=[])
    (tmp_path / "unpickled").unlink(missing_ok=True)
    with pytest.raises(UserError, match="not a model that"):
        load(str(tmp_path / "foreign"))
    assert not (tmp_path / "unpickled").exists()
