"""Forecasters by name: of the registry, from a folder, or of those that need neither."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.common.errors import UserError
from pipelines.common.provenance import CODE, sha256
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.extrapolation import Forecaster
from pipelines.nowcast.methods.interface import FALLBACKS, INPUTS, load_forecaster
from pipelines.params.base import Device
from pipelines.training.exported_model import DESCRIPTION, is_folder, read_manifest

if TYPE_CHECKING:
    from pipelines.tracking.registry import ModelLocation

SHIPPED = {"simulated": CODE / "pipelines/nowcast/shipped/simulated"}  # a network that comes with this package


@dataclass(frozen=True)
class LoadedModel:
    """A forecaster and where it came from.

    Parameters
    ----------
    uri : str
        As asked for.
    name, version : str
        Of the registered model, in a folder with its hash; of what was never registered "none" or the method's name,
        and no version.
    sha256 : str or None
        Of the model's folder, if it lies in one.
    forecaster : Forecaster
    description : ModelDescription
    bytes_a_pixel : mapping of str to float
        Memory that it takes, as measured when it was registered; see `pipelines.nowcast.methods.memory_use`.
    """

    uri: str
    name: str
    version: str | None
    sha256: str | None
    forecaster: Forecaster
    description: ModelDescription
    bytes_a_pixel: Mapping[str, float] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """What makes the forecast: a network's name, or the method."""
        return self.description.title


def load(uri: str, device: Device = "auto") -> LoadedModel:
    """Load a forecaster by its name, to forecast on a device: an MLflow URI, a folder, or a method without training.

    A version is loaded once, and kept.

    For a server that is silent it waits 10 s: a forecast has to be there in a minute.

    Raises
    ------
    UserError
        If there is no such model, it isn't one of ours, or its content isn't what was registered.
    """
    if uri in FALLBACKS:
        description = ModelDescription.model_validate({"method": uri, "inputs": INPUTS[uri]})
        return LoadedModel(uri, uri, None, None, FALLBACKS[uri], description)
    if folder := folder_of(uri):
        return _load_folder(uri, folder, device)
    # Here, not above: MLflow takes seconds to import, and a frame is read before a model is wanted.
    from pipelines.nowcast.specification import RADAR
    from pipelines.tracking.store import briefly

    with briefly():
        location = RADAR.locate(uri)
        # What another URI names may change; a version doesn't.
        read = _read if location.version is None else _read_once
        return LoadedModel(uri, location.name, location.version, *read(location, device), location.bytes_a_pixel)


def folder_of(model: str) -> Path | None:
    """Return the folder that a model's name means, of this package or the path that it is; None of an MLflow URI.

    Raises
    ------
    UserError
        If it is the name of both.
    """
    if model in SHIPPED and (Path(model) / DESCRIPTION).exists():
        raise UserError(f"{model}: a network of this package, and a model's folder here: ./{model} is the folder")
    return SHIPPED.get(model) or (Path(model) if is_folder(model) else None)


def _load_folder(name: str, folder: Path, device: Device) -> LoadedModel:
    if not folder.is_dir():
        raise UserError(
            f"{name}: no such folder, and neither an MLflow URI nor one of {', '.join((*FALLBACKS, *SHIPPED))}"
        )
    forecaster, description = load_forecaster(folder, device)
    if exported := read_manifest(folder):
        # Of the package's own the number is of a registry that nobody has.
        known, version = (name, None) if name in SHIPPED else (exported.name, exported.version_here)
        return LoadedModel(name, known, version, exported.content, forecaster, description, exported.bytes_a_pixel)
    return LoadedModel(name, "none", None, sha256(folder), forecaster, description)


def _read(location: "ModelLocation", device: Device) -> tuple[str, Forecaster, ModelDescription]:
    """Return a model's hash, forecaster and description."""
    folder, sha256 = location.download()
    return sha256, *load_forecaster(folder, device)


_read_once = lru_cache(maxsize=4)(_read)
