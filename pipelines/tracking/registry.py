"""Registered models: what MLflow has to know of one, its versions, found by content, and fetching one of them."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

from pipelines.common.errors import UserError, in_short
from pipelines.common.imports import libraries
from pipelines.common.provenance import CHANGED, CODE, code_commit, sha256
from pipelines.tracking.store import connect

OF_REGISTRY = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))")
BYTES_A_PIXEL = "_bytes_a_pixel"  # how tags of a version end that say what memory takes what
log = logging.getLogger(__name__)
STORES = ("store", "windows", "clips", "drives", "crops")
LINEAGE = ("cell", "switch", "code_commit", "data_sha256", *(f"dvc_md5.{name}" for name in STORES))


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
    """

    name: str
    samples: str
    loader: str
    inputs: Schema
    outputs: Schema
    example: Any
    params: Mapping[str, int] = field(default_factory=dict)

    def log(self, folder: Path) -> None:
        """Log the model in ``folder`` to the active run, with the code that it needs."""
        params: Any = None
        if self.params:
            params = ParamSchema([ParamSpec(name, "long", default) for name, default in self.params.items()])
        mlflow.pyfunc.log_model(
            name="model",
            loader_module=self.loader,
            data_path=str(folder),
            code_paths=[str(CODE / "pipelines"), str(CODE / "scs_model")],
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
            for key, value in _tags(metrics).items():
                if found.tags.get(key) != value:
                    client.set_model_version_tag(self.name, str(found.version), key, value)
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
        lineage = {key: run.data.tags[key] for key in LINEAGE if key in run.data.tags}
        tags = {"model": name, "model_sha256": model_sha256} | lineage | _tags(metrics)
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
        """Point ``alias`` at a version, with the reason as the version's tag; nothing if it points there already."""
        if self.find_alias(alias) == Version(version.number, version.sha256):
            return
        client = connect(self.name)
        client.set_model_version_tag(self.name, version.number, f"{alias}_because", reason)
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
        """Return a version's tags, and the metrics of the run that it was made from."""
        client = connect(self.name)
        found = client.get_model_version(self.name, version.number)
        return found.tags, client.get_run(found.run_id).data.metrics if found.run_id else {}

    def has_card(self, version: Version) -> bool:
        """Return whether a version has a description."""
        return bool(connect(self.name).get_model_version(self.name, version.number).description)

    def set_card(self, version: Version, card: str) -> None:
        """Write a version's description, Markdown."""
        connect(self.name).update_model_version(self.name, version.number, card)

    def set_memory(self, version: Version, bytes_a_pixel: Mapping[str, float]) -> None:
        """Write what a version takes as its tags: of a forecast ``forecast_bytes_a_pixel``."""
        client = connect(self.name)
        for what, taken in bytes_a_pixel.items():
            client.set_model_version_tag(self.name, version.number, what + BYTES_A_PIXEL, f"{taken:.0f}")

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
                version, tags = str(found.version), found.tags
                of_memory = {key.removesuffix(BYTES_A_PIXEL): tags[key] for key in tags if key.endswith(BYTES_A_PIXEL)}
                measured = {what: float(taken) for what, taken in of_memory.items()}
                uri_of_version = f"models:/{name}/{version}"
                return ModelLocation(name, version, uri_of_version, store, tags.get("model_sha256"), measured)
            tags = client.get_run(of_run[1]).data.tags if of_run else {}
        except MlflowException as error:
            raise _no_such_model(uri, error) from None
        return ModelLocation("none", None, uri, store, tags.get("model_sha256"))


def _tags(metrics: Mapping[str, float]) -> dict[str, str]:
    return {key: f"{value:.4f}" for key, value in metrics.items()}


def _log_scores(client: MlflowClient, run_id: str, metrics: Mapping[str, float]) -> None:
    """Log metrics that the run doesn't have yet with these values."""
    logged = client.get_run(run_id).data.metrics
    for key, value in metrics.items():
        if logged.get(key) != value:
            client.log_metric(run_id, key, value)


def _no_such_model(uri: str, error: Exception) -> UserError:
    return UserError(f"{uri}: no such model in {mlflow.get_tracking_uri()}: {in_short(error)}")
