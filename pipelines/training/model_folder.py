"""A trained model's folder: what it says of itself in ``model.json``, and its weights in ``weights.safetensors``."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import atomic_path, write_text
from pipelines.params.base import reason_of

if TYPE_CHECKING:  # torch takes seconds to import, and who reads a description needs none
    from torch import Tensor, nn

MOST_BYTES = 1 << 20  # of what a model says of itself, whoever wrote it
MOST_LAYERS = 1000  # of a network, one beside the other: as many are made before its weights are looked at
Layers = Annotated[int, Field(le=MOST_LAYERS)]
Network = TypeVar("Network", bound="nn.Module")


class Description(BaseModel):
    """What a model says of itself, typed; each task has its own. Keys that are unknown are of newer code, and left."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the description in ``folder``; raises UserError if there is none, or it is another's."""
        file = _file(folder, "model.json")
        try:
            if file.stat().st_size > MOST_BYTES:
                raise UserError(f"{file}: not a model's description: too large")
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


def load_network(folder: Path, build: "Callable[[], Network]") -> "Network":
    """Build the network in ``folder`` as its description says, and load its weights.

    It is built twice, first of shapes alone: what a description asks for is of any size, and what a file holds isn't.

    Raises
    ------
    UserError
        If none can be built so, or there are no weights, or those of another network.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    try:
        with torch.device("meta"):
            wanted = {name: list(tensor.shape) for name, tensor in build().state_dict().items()}
    except (ValueError, RuntimeError, TypeError) as error:  # torch's of a number of more than 64 bits
        raise UserError(f"{folder}/model.json: no network can be built from it: {in_short(error)}") from None
    file = _file(folder, "weights.safetensors")
    try:
        with safe_open(file, "pt") as content:
            held = {name: content.get_slice(name).get_shape() for name in content.keys()}  # noqa: SIM118
        for name in sorted(wanted.keys() | held.keys()):
            asked, found = wanted.get(name, "none"), held.get(name, "not there")
            if asked != found:
                raise ValueError(f"size mismatch: {name} is {found}, and model.json asks for {asked}")
        network = build()
        network.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise UserError(f"{file}: {in_short(error)}") from None
    return network


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
