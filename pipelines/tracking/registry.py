"""Registered models: what MLflow has to know of one, its versions, found by content, and fetching one of them."""

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from pipelines.common.errors import UserError, in_short
from pipelines.common.imports import libraries
from pipelines.common.provenance import CHANGED, CODE, code_commit, sha256
from pipelines.tracking.store import connect

OF_REGISTRY = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))")
BYTES_A_PIXEL = "_bytes_a_pixel"  # how metrics of its run end, once tags of a version, that say what memory takes what
log = logging.getLogger(__name__)
# Tags of its run that a version shows, too. With more, one version fills MLflow's page; its run and its card have all.
SHOWN = ("cell", "switch", "data_sha256")


def tensor(dtype: type, *shape: int) -> Schema:
    """Return the schema of an array; -1 is any length."""
    return Schema([TensorSpec(np.dtype(dtype), shape, name=None)])


def tensors(parts: Mapping[str, tuple[type, tuple[int, ...]]]) -> Schema:
    """Return the schema of arrays by name, from their types and shapes; -1 is any length."""
    return Schema([TensorSpec(np.dtype(dtype), shape, name) for name, (dtype, shape) in parts.items()])


def columns(types: Mapping[str, str]) -> Schema:
    """Return the schema of a table, from its columns' names to MLflow's types."""
    return Schema([ColSpec(kind, name) for name, kind in types.items()])


@dataclass(frozen=True)
class Version:
    """A version of a registered model: its number and its content's hash; ``new`` if just made."""

    number: str
    sha256: str
    new: bool = False


@dataclass(frozen=True)
class ModelLocation:
    """Where the model lies that a URI means: the URI of its version, and the ``store`` that knows it.

    ``name`` and ``version`` are those of the registered model, "none" and None outside the registry; ``sha256`` is what
    the store says of its content, None if nothing; ``bytes_a_pixel`` the memory that a forecast of it takes, and others
    of what it does, as measured when it was registered.
    """

    name: str
    version: str | None
    uri: str
    store: str
    sha256: str | None
    bytes_a_pixel: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def card(self) -> str:
        """The description of its version, Markdown; empty where there is none."""
        found = MlflowClient().get_model_version(self.name, str(self.version)) if self.version else None
        return (found and found.description) or ""

    def download(self) -> tuple[Path, str]:
        """Fetch the folder as it was trained: description and weights, none of the code or pickles beside it.

        Returns
        -------
        folder : Path
        sha256 : str
            Hex digest of its content.

        Raises
        ------
        UserError
            If there is no such model, it isn't one of ours, or its content is another than the store says.
        """
        not_ours = CHANGED if self.sha256 else "not a model that `dvc repro` registered"
        try:
            downloaded = Path(mlflow.artifacts.download_artifacts(self.uri))
            folder = downloaded / Model.load(downloaded).flavors["python_function"]["data"]
            inside = folder.resolve().is_relative_to(downloaded.resolve())
        except (MlflowException, OSError) as error:
            raise _no_such_model(self.uri, error) from None
        except (KeyError, TypeError):
            raise UserError(f"{self.uri}: {not_ours}: it has no data") from None
        # What is raised for a file MLmodel that someone damaged can't be listed.
        except Exception as error:
            raise UserError(f"{self.uri}: {not_ours}: its MLmodel can't be read: {in_short(error)}") from None
        if not inside:
            raise UserError(f"{self.uri}: {not_ours}: its data aren't in it")
        if not folder.is_dir():
            raise UserError(f"{self.uri}: its artifacts are gone from {self.store}")
        content = sha256(folder)
        if self.sha256 is None and OF_REGISTRY.fullmatch(self.uri):
            log.warning("%s: without a tag model_sha256, nobody knows whether it is what was registered", self.uri)
        if self.sha256 not in (None, content):
            raise UserError(f"{self.uri}: {CHANGED}: its content is {content[:12]}, not {self.sha256[:12]}")
        return folder, content


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model: what a task says of it, and its versions in the store that is active.

    Parameters
    ----------
    name : str
        In the registry; its experiment has the same.
    samples : str
        What it is trained on.
    loader : str
        Module whose ``_load_pyfunc`` MLflow calls.
    inputs, outputs : Schema
        What it takes and returns; see `tensor` and `columns`.
    example : object
        An input.
    params : mapping of str to int
        What else it takes, with defaults.
    shown : sequence of str
        Metrics that a version has as tags, the first of all scores.
    """

    name: str
    samples: str
    loader: str
    inputs: Schema
    outputs: Schema
    example: Any
    params: Mapping[str, int] = field(default_factory=dict)
    shown: Sequence[str] = ()

    def log(self, folder: Path) -> None:
        """Log the model in ``folder`` to the active run, with the code that it needs."""
        params: Any = None
        if self.params:
            params = ParamSchema([ParamSpec(name, "long", default) for name, default in self.params.items()])
        with TemporaryDirectory() as code:
            for package in ("pipelines", "scs_model"):
                # Not the network that the package brings along: a version has its own. A link leads into mlflow/, which
                # may have been lost.
                ignored = ignore_patterns("shipped", "__pycache__")
                copytree(CODE / package, Path(code, package), ignore=ignored, ignore_dangling_symlinks=True)
            mlflow.pyfunc.log_model(
                name="model",
                loader_module=self.loader,
                data_path=str(folder),
                code_paths=[str(Path(code, package)) for package in ("pipelines", "scs_model")],
                signature=ModelSignature(self.inputs, self.outputs, params),
                input_example=self.example,
                pip_requirements=[f"{name}=={installed(name)}" for name in ("mlflow", *libraries(self.loader))],
                metadata={"sha256": sha256(folder)},
            )

    def ensure_version(self, name: str, folder: Path, metrics: Mapping[str, float], *, trained: bool = True) -> Version:
        """Find the version that holds the model in ``folder``, or make one; log its scores on the test data.

        The version belongs to the run that trained the model. Where this store doesn't know that run (after
        `dvc pull`), a run is made that says so. Nothing is said of a method that isn't ``trained``.
        """
        client = connect(self.name)
        model_sha256 = sha256(folder)
        of_content = f"tags.model_sha256 = '{model_sha256}'"
        known = client.search_model_versions(f"name = '{self.name}' and {of_content}")
        if known:
            found = min(known, key=lambda version: int(version.version))
            assert found.run_id is not None  # every version is made from a run, below
            _log_scores(client, found.run_id, metrics)
            shown = self._shown(metrics)
            for key, value in shown.items():
                if found.tags.get(key) != value:
                    client.set_model_version_tag(self.name, str(found.version), key, value)
            for key in metrics.keys() & found.tags.keys() - shown.keys():  # as it was once
                client.delete_model_version_tag(self.name, str(found.version), key)
            return Version(str(found.version), model_sha256)

        made_it = f"{of_content} and attributes.status = 'FINISHED'"
        runs = mlflow.search_runs(experiment_names=[self.name], filter_string=made_it, output_format="list")
        if runs:
            run = runs[0]
        else:
            with mlflow.start_run(run_name=name) as run:
                mlflow.set_tags({"model": name, "model_sha256": model_sha256, "code_commit": code_commit()})
                if trained:
                    mlflow.set_tag("imported", "this store doesn't have the run that made the model")
                self.log(folder)
        _log_scores(client, run.info.run_id, metrics)
        of_run = {key: run.data.tags[key] for key in SHOWN if key in run.data.tags}
        tags = {"model": name, "model_sha256": model_sha256} | of_run | self._shown(metrics)
        made = mlflow.register_model(f"runs:/{run.info.run_id}/model", self.name, tags=tags)
        return Version(str(made.version), model_sha256, new=True)

    def find_alias(self, alias: str) -> Version | None:
        """Return the version that ``alias`` points to, or None."""
        try:
            found = connect(self.name).get_model_version_by_alias(self.name, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return Version(str(found.version), found.tags.get("model_sha256", ""))  # "": of a version of others

    def set_alias(self, alias: str, version: Version, reason: str) -> None:
        """Point ``alias`` at a version, with the reason as its run's tag; nothing if it points there already."""
        if self.find_alias(alias) == Version(version.number, version.sha256):
            return
        client = connect(self.name)
        if run := _run_of(client, client.get_model_version(self.name, version.number)):
            client.set_tag(run.info.run_id, f"{alias}_because", reason)
        client.set_registered_model_alias(self.name, alias, version.number)

    def find_version(self, uri: str) -> Version:
        """Return the version that models:/NAME/NUMBER or models:/NAME@ALIAS is; a UserError if it is none of ours."""
        named = OF_REGISTRY.fullmatch(uri)
        if not named or named[1] != self.name:
            raise UserError(f"{uri}: not a version of {self.name}: models:/{self.name}/NUMBER")
        location = self.locate(uri)
        if location.version is None or location.sha256 is None:
            raise UserError(f"{uri}: not a model that `dvc repro` registered")
        return Version(location.version, location.sha256)

    def tags_and_metrics(self, version: Version) -> tuple[dict[str, str], dict[str, float]]:
        """Return the tags of a version and of the run that it was made from, and that run's metrics."""
        client = connect(self.name)
        found = client.get_model_version(self.name, version.number)
        run = _run_of(client, found)
        return (run.data.tags | found.tags, run.data.metrics) if run else (found.tags, {})

    def has_card(self, version: Version) -> bool:
        """Return whether a version has a description."""
        return bool(connect(self.name).get_model_version(self.name, version.number).description)

    def set_card(self, version: Version, card: str) -> None:
        """Write the description of a version and of its run, Markdown."""
        client = connect(self.name)
        client.update_model_version(self.name, version.number, card)
        if run := _run_of(client, client.get_model_version(self.name, version.number)):
            client.set_tag(run.info.run_id, MLFLOW_RUN_NOTE, card)

    def set_memory(self, version: Version, bytes_a_pixel: Mapping[str, float]) -> None:
        """Write what a version takes as metrics of its run: of a forecast ``forecast_bytes_a_pixel``."""
        client = connect(self.name)
        if run := _run_of(client, client.get_model_version(self.name, version.number)):
            for what, taken in bytes_a_pixel.items():
                client.log_metric(run.info.run_id, what + BYTES_A_PIXEL, taken)

    def _shown(self, metrics: Mapping[str, float]) -> dict[str, str]:
        return {key: f"{metrics[key]:.4f}" for key in self.shown if key in metrics}

    def check(self, version: Version) -> None:
        """Refuse a version that is lost, or changed; raises as :meth:`ModelLocation.download` does."""
        self.locate(f"models:/{self.name}/{version.number}").download()

    def locate(self, uri: str) -> ModelLocation:
        """Return where the model lies that an MLflow URI means, of this registered model or any other.

        Raises
        ------
        UserError
            If it is a version that isn't there, or an alias that nobody has.
        """
        client = connect(self.name)
        store = mlflow.get_tracking_uri()
        of_registry = OF_REGISTRY.fullmatch(uri)
        of_run = re.match(r"runs:/([^/]+)/", uri)
        try:
            if of_registry:
                name, alias, number = of_registry.groups()
                found = (
                    client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
                )
                version, run = str(found.version), _run_of(client, found)
                numbers = found.tags | (run.data.metrics if run else {})
                measured = {
                    key.removesuffix(BYTES_A_PIXEL): float(value)
                    for key, value in numbers.items()
                    if key.endswith(BYTES_A_PIXEL)
                }
                uri_of_version = f"models:/{name}/{version}"
                return ModelLocation(name, version, uri_of_version, store, found.tags.get("model_sha256"), measured)
            tags = client.get_run(of_run[1]).data.tags if of_run else {}
        except MlflowException as error:
            raise _no_such_model(uri, error) from None
        return ModelLocation("none", None, uri, store, tags.get("model_sha256"))


def _run_of(client: MlflowClient, version: ModelVersion) -> Run | None:
    """Return the run that a version was made from; None where it is gone, or was never there."""
    with suppress(MlflowException):
        return client.get_run(version.run_id) if version.run_id else None
    return None


def _log_scores(client: MlflowClient, run_id: str, metrics: Mapping[str, float]) -> None:
    """Log metrics that the run doesn't have yet with these values."""
    logged = client.get_run(run_id).data.metrics
    for key, value in metrics.items():
        if logged.get(key) != value:
            client.log_metric(run_id, key, value)


def _no_such_model(uri: str, error: Exception) -> UserError:
    return UserError(f"{uri}: no such model in {mlflow.get_tracking_uri()}: {in_short(error)}")
