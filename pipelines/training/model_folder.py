"""A trained model's folder: what it says of itself in ``model.json``, and its weights in ``weights.safetensors``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import atomic_path, write_text
from pipelines.params.base import reason_of

if TYPE_CHECKING:  # torch takes seconds to import, and who reads a description needs none
    from torch import Tensor, nn


class Description(BaseModel):
    """What a model says of itself, typed; each task has its own. Keys that are unknown are of newer code, and left."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the description in ``folder``; raises UserError if there is none, or it is another's."""
        file = _file(folder, "model.json")
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise UserError(f"{file}: not a model's description: {error.strerror}") from None
        except ValidationError as error:
            raise UserError(f"{file}: not a model's description: {reason_of(error)}") from None

    def write(self, folder: Path) -> None:
        """Write it into ``folder``; the same is the same bytes, by whose hash a model is found again."""
        content = json.dumps(self.model_dump(exclude_unset=True), indent=1, sort_keys=True)
        (folder / "model.json").write_text(content, encoding="utf-8")


def _file(folder: Path, name: str) -> Path:
    """Return the path of what is to be read; raises UserError if that would never end: it is a pipe, or a device."""
    path = folder / name
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: no file")
    return path


def load_weights(network: "nn.Module", folder: Path) -> None:
    """Load the weights in ``folder`` into a network; raises UserError if there are none, or they don't fit."""
    from safetensors.torch import load_file

    file = _file(folder, "weights.safetensors")
    try:
        network.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{file}: {in_short(error)}") from None


def write_trained(
    folder: Path, description: Description, weights: "dict[str, Tensor]", metrics: Path, result: Mapping[str, float]
) -> None:
    """Write ``model.json`` and ``weights.safetensors`` into ``folder``, and ``result`` to the JSON ``metrics``."""
    from safetensors.torch import save_file

    with atomic_path(folder) as temporary:
        temporary.mkdir()
        description.write(temporary)
        save_file(weights, temporary / "weights.safetensors")
    write_text(metrics, json.dumps(result, indent=1))
