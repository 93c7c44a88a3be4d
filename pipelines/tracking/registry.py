"""The registered models: their versions, found by content, and loading one of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version as installed
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from pipelines.common.errors import UserError, in_short
from pipelines.common.provenance import CODE, code_commit, sha256
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.extrapolation import Forecaster
from pipelines.nowcast.methods.interface import BASELINES, load_forecaster
from pipelines.tracking.kinds import RADAR, Kind
from pipelines.tracking.store import NAME, briefly, connect

LINEAGE = ("cell", "switch", "code_commit", "data_sha256", "dvc_md5.store", "dvc_md5.windows", "dvc_md5.clips")


@dataclass(frozen=True)
class LoadedModel:
    """A forecaster from the registry and where it came from.

    Parameters
    ----------
    uri : str
        As asked for.
    name, version : str
        Of the registered model; "none" for a URI outside the registry.
    sha256 : str
        Of the model's folder.
    forecaster : Forecaster
    description : ModelDescription
    """

    uri: str
    name: str
    version: str
    sha256: str
    forecaster: Forecaster
    description: ModelDescription

    @property
    def method(self) -> str:
        """What makes the forecast: a network's name, or the method."""
        return self.description.title


def log_model(folder: Path, of: Kind = RADAR) -> str:
    """Log the model in ``folder`` to the active run, with the code that it needs; give its URI."""
    info = mlflow.pyfunc.log_model(
        name="model",
        loader_module=of.loader,
        data_path=str(folder),
        code_paths=[str(CODE / "pipelines"), str(CODE / "scs_model")],
        signature=of.signature,
        input_example=of.example,
        pip_requirements=[f"{name}=={installed(name)}" for name in of.requirements],
        metadata={"sha256": sha256(folder)},
    )
    return info.model_uri


@dataclass(frozen=True)
class Version:
    """A version of the registered model: its number and its content's hash; ``new`` if just made."""

    number: str
    sha256: str
    new: bool = False


def ensure_version(name: str, folder: Path, metrics: Mapping[str, float], of: Kind = RADAR) -> Version:
    """Find the version that holds the model in ``folder``, or make one; log its scores on the test events.

    The version belongs to the run that trained the model. Where this store doesn't know that run (after `dvc pull`),
    a run is made that says so.
    """
    client = connect(of.name)
    model_sha256 = sha256(folder)
    of_content = f"tags.model_sha256 = '{model_sha256}'"
    known = client.search_model_versions(f"name = '{of.name}' and {of_content}")
    if known:
        found = min(known, key=lambda version: int(version.version))
        assert found.run_id is not None  # every version is made from a run, below
        _log_scores(client, found.run_id, metrics)
        for key, value in _tags(metrics).items():
            if found.tags.get(key) != value:
                client.set_model_version_tag(of.name, str(found.version), key, value)
        return Version(str(found.version), model_sha256)

    made_it = f"{of_content} and attributes.status = 'FINISHED'"
    runs = mlflow.search_runs(experiment_names=[of.name], filter_string=made_it, output_format="list")
    if runs:
        run = runs[0]
    else:
        with mlflow.start_run(run_name=name) as run:
            mlflow.set_tags({"model": name, "model_sha256": model_sha256, "code_commit": code_commit()})
            if name not in BASELINES:
                mlflow.set_tag("imported", "this store doesn't have the run that made the model")
            log_model(folder, of)
    _log_scores(client, run.info.run_id, metrics)
    lineage = {key: run.data.tags[key] for key in LINEAGE if key in run.data.tags}
    tags = {"model": name, "model_sha256": model_sha256} | lineage | _tags(metrics)
    made = mlflow.register_model(f"runs:/{run.info.run_id}/model", of.name, tags=tags)
    return Version(str(made.version), model_sha256, new=True)


def _tags(metrics: Mapping[str, float]) -> dict[str, str]:
    return {key: f"{value:.4f}" for key, value in metrics.items()}


def _log_scores(client: MlflowClient, run_id: str, metrics: Mapping[str, float]) -> None:
    """Log metrics that the run doesn't have yet with these values."""
    logged = client.get_run(run_id).data.metrics
    for key, value in metrics.items():
        if logged.get(key) != value:
            client.log_metric(run_id, key, value)


def find_alias(alias: str, of: Kind = RADAR) -> Version | None:
    """Version that ``alias`` points to, or None."""
    try:
        found = connect(of.name).get_model_version_by_alias(of.name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return Version(str(found.version), found.tags["model_sha256"])


def set_alias(alias: str, version: Version, reason: str, of: Kind = RADAR) -> None:
    """Point ``alias`` at a version, with the reason as the version's tag; nothing if it points there already."""
    if find_alias(alias, of) == Version(version.number, version.sha256):
        return
    client = connect(of.name)
    client.set_model_version_tag(of.name, version.number, f"{alias}_because", reason)
    client.set_registered_model_alias(of.name, alias, version.number)


def find_version(uri: str, of: Kind = RADAR) -> Version:
    """Version that a URI names: models:/NAME/NUMBER, or models:/NAME@ALIAS.

    Raises
    ------
    UserError
        If it names none, or one that isn't ours.
    """
    client = connect(of.name)
    named = re.fullmatch(rf"models:/{re.escape(of.name)}(?:@([^/@]+)|/(\d+))", uri)
    if named is None:
        raise UserError(f"{uri}: not a version of {of.name}: models:/{of.name}/NUMBER")
    alias, number = named.groups()
    try:
        found = (
            client.get_model_version_by_alias(of.name, alias) if alias else client.get_model_version(of.name, number)
        )
    except MlflowException as error:
        reason = in_short(error)
        raise UserError(f"{uri}: no such model in {mlflow.get_tracking_uri()}: {reason}") from None
    if "model_sha256" not in found.tags:
        raise UserError(f"{uri}: not a model that `dvc repro` registered")
    return Version(str(found.version), found.tags["model_sha256"])


def facts_of(version: Version, of: Kind = RADAR) -> tuple[dict[str, str], dict[str, float]]:
    """Return a version's tags, and the metrics of the run that it was made from."""
    client = connect(of.name)
    found = client.get_model_version(of.name, version.number)
    return found.tags, client.get_run(found.run_id).data.metrics if found.run_id else {}


def has_card(version: Version, of: Kind = RADAR) -> bool:
    """Whether a version has a description."""
    return bool(connect(of.name).get_model_version(of.name, version.number).description)


def set_card(version: Version, card: str, of: Kind = RADAR) -> None:
    """Return a version its description, Markdown."""
    connect(of.name).update_model_version(of.name, version.number, card)


@dataclass(frozen=True)
class DownloadedModel:
    """A registered model's folder, as it was trained, and which version it is ("none" outside the registry)."""

    name: str
    version: str
    folder: Path


def find(uri: str) -> DownloadedModel:
    """Fetch a model by its MLflow URI: its description and weights, none of the code or pickles that may lie there.

    Raises
    ------
    UserError
        If there is no such model, or it isn't one of ours.
    """
    name, version, uri_of_version = _resolve(uri)
    return DownloadedModel(name, version, _download(uri, uri_of_version))


@briefly()
def load(uri: str = f"models:/{NAME}@champion") -> LoadedModel:
    """Load a forecaster by its MLflow URI; see `find`. A version is loaded once, and kept.

    For a server that is silent it waits 10 s: a forecast has to be there in a minute.

    Raises
    ------
    UserError
        If there is no such model, or it isn't one of ours.
    """
    name, version, uri_of_version = _resolve(uri)
    # What another URI names may change; a version doesn't.
    read = _read if version == "none" else _read_once
    return LoadedModel(uri, name, version, *read(uri_of_version, mlflow.get_tracking_uri()))


def _resolve(uri: str) -> tuple[str, str, str]:
    """Return the model and version that a URI means ("none" outside the registry), and the URI of that version."""
    client = connect()
    of_registry = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", uri)
    if not of_registry:
        return "none", "none", uri
    name, alias, version = of_registry.groups()
    if alias:
        try:
            version = str(client.get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            raise _no_such_model(uri, error) from None
    return name, version, f"models:/{name}/{version}"


def _download(uri: str, uri_of_version: str) -> Path:
    """Fetch a model's folder; ``uri`` is for the message."""
    try:
        downloaded = Path(mlflow.artifacts.download_artifacts(uri_of_version))
        flavors = Model.load(downloaded).flavors
    except (MlflowException, OSError, ValueError) as error:
        raise _no_such_model(uri, error) from None
    try:
        folder = downloaded / flavors["python_function"]["data"]
    except (KeyError, TypeError):
        raise UserError(f"{uri}: not a model that `dvc repro` registered: it has no data") from None
    if not folder.is_dir():
        raise UserError(f"{uri}: its artifacts are gone from {mlflow.get_tracking_uri()}")
    return folder


def _no_such_model(uri: str, error: Exception) -> UserError:
    reason = in_short(error)
    return UserError(f"{uri}: no such model in {mlflow.get_tracking_uri()}: {reason}")


def _read(uri: str, tracking_uri: str) -> tuple[str, Forecaster, ModelDescription]:
    """Return a model's hash, forecaster and description, read from the store that is active, ``tracking_uri``."""
    folder = _download(uri, uri)
    return sha256(folder), *load_forecaster(folder)


_read_once = lru_cache(maxsize=4)(_read)
