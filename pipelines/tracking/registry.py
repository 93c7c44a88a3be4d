"""The registered model ``radar-nowcast``: its versions, found by content, and loading one of them."""

from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ParamSchema, ParamSpec, Schema, TensorSpec

from pipelines.errors import UserError
from pipelines.forecasters import Forecaster, load_forecaster, read_description
from pipelines.lineage import sha256
from pipelines.tracking.store import NAME, connect

RAIN = Schema([TensorSpec(np.dtype(np.float32), (-1, -1, -1), name=None)])
SIGNATURE = ModelSignature(RAIN, RAIN, ParamSchema([ParamSpec("leads", "long", 12)]))
REQUIREMENTS = ["mlflow", "numpy", "opencv-python-headless", "pysteps", "safetensors", "scipy", "torch"]
CODE = Path(__file__).resolve().parents[2]


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
    description : dict
        Its ``model.json``.
    forecaster : Forecaster
    """

    uri: str
    name: str
    version: str
    sha256: str
    description: dict[str, Any]
    forecaster: Forecaster

    @property
    def method(self) -> str:
        """What makes the forecast: a network's name, or the method."""
        return self.description.get("name", self.description["method"])


def log_model(folder: Path) -> str:
    """Log the model in ``folder`` to the active run, with the code that it needs; give its URI."""
    info = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(Path(__file__).with_name("pyfunc.py")),
        artifacts={"model": str(folder)},
        code_paths=[str(CODE / "pipelines"), str(CODE / "scs_model")],
        signature=SIGNATURE,
        pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        metadata={"sha256": sha256(folder)},
    )
    return info.model_uri


def find_version(client: MlflowClient, model_sha256: str) -> ModelVersion | None:
    """Version of the registered model with this content, or None."""
    versions = client.search_model_versions(f"name = '{NAME}' and tags.model_sha256 = '{model_sha256}'")
    return min(versions, key=lambda v: int(v.version)) if versions else None


def version_of_alias(client: MlflowClient, alias: str) -> ModelVersion | None:
    """Version that ``alias`` points to, or None."""
    try:
        return client.get_model_version_by_alias(NAME, alias)
    except MlflowException:
        return None


def load(uri: str = f"models:/{NAME}@champion") -> LoadedModel:
    """Load a model by its MLflow URI: its description and weights, none of the code or pickles that may lie there.

    Raises
    ------
    UserError
        If there is no such model, or it isn't one of ours.
    """
    client = connect()
    name = version = "none"
    try:
        if uri.startswith("models:/"):
            name, at, alias = uri.removeprefix("models:/").partition("@")
            name, _, version = name.partition("/")
            if at:
                version = str(client.get_model_version_by_alias(name, alias).version)
            downloaded = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}"))
        else:
            downloaded = Path(mlflow.artifacts.download_artifacts(uri))
        flavors = Model.load(downloaded).flavors
    except (MlflowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{uri}: no such model in {mlflow.get_tracking_uri()}: {reason}") from None
    try:
        folder = downloaded / flavors["python_function"]["artifacts"]["model"]["path"]
    except (KeyError, TypeError):
        raise UserError(f"{uri}: not a model that `dvc repro` registered: it has no artifact `model`") from None
    return LoadedModel(uri, name, version, sha256(folder), read_description(folder), load_forecaster(folder))
