"""Forecasters from the registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.extrapolation import Forecaster
from pipelines.nowcast.methods.interface import load_forecaster
from pipelines.params.base import Device

if TYPE_CHECKING:
    from pipelines.tracking.registry import ModelLocation


@dataclass(frozen=True)
class LoadedModel:
    """A forecaster from the registry and where it came from.

    Parameters
    ----------
    uri : str
        As asked for.
    name, version : str
        Of the registered model; outside the registry "none", and no version.
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
    """Load a forecaster by its MLflow URI, to forecast on a device. A version is loaded once, and kept.

    For a server that is silent it waits 10 s: a forecast has to be there in a minute.

    Raises
    ------
    UserError
        If there is no such model, it isn't one of ours, or its content isn't what was registered.
    """
    # Here, not above: MLflow takes seconds to import, and a frame is read before a model is wanted.
    from pipelines.nowcast.specification import RADAR
    from pipelines.tracking.store import briefly

    with briefly():
        location = RADAR.locate(uri)
        # What another URI names may change; a version doesn't.
        read = _read if location.version is None else _read_once
        return LoadedModel(uri, location.name, location.version, *read(location, device), location.bytes_a_pixel)


def _read(location: "ModelLocation", device: Device) -> tuple[str, Forecaster, ModelDescription]:
    """Return a model's hash, forecaster and description."""
    folder, sha256 = location.download()
    return sha256, *load_forecaster(folder, device)


_read_once = lru_cache(maxsize=4)(_read)
