"""A registered model as a folder, which `scs export-model` writes: read without MLflow wherever a model is named.

Beside ``model.json`` and ``weights.safetensors``, as training leaves them, it has a card and a manifest.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import no_file_inside
from pipelines.common.format_version import FORMAT_VERSION, check_format
from pipelines.common.provenance import CHANGED, folder_sha256, sha256
from pipelines.params.base import reason_of
from pipelines.training.model_folder import MOST_BYTES

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Literal["README.md", "model.json", "weights.safetensors"]
MANIFEST = "exported.json"
CARD: Final = "README.md"
DESCRIPTION: Final = "model.json"
WEIGHTS: Final = "weights.safetensors"
KNOWN_FORMAT = 1


class Manifest(BaseModel):
    """What an exported folder says of itself.

    Parameters
    ----------
    name, version : str
        Of the registered model.
    sha256 : mapping of str to str
        Hex digest of each file; of these names and no others.
    bytes_a_pixel : mapping of str to float
        Memory that it takes, as measured when it was registered.
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)

    name: str
    version: str
    sha256: dict[FileName, Digest]
    bytes_a_pixel: dict[str, Annotated[float, Field(ge=0)]] = {}

    @property
    def content(self) -> str:
        """The model's hash, the registry's."""
        return folder_sha256({name: digest for name, digest in sorted(self.sha256.items()) if name != CARD})

    @property
    def version_here(self) -> str:
        """What the version is called outside of its registry: with its hash, as the registry here may number others."""
        return f"{self.version}-{self.content[:8]}"

    def write(self, folder: Path) -> None:
        """Write it into ``folder``."""
        content = {FORMAT_VERSION: KNOWN_FORMAT, **self.model_dump()}
        (folder / MANIFEST).write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")


def read_manifest(folder: Path) -> Manifest | None:
    """Return what an exported folder says, whose files are as it says; None of a folder that nobody exported.

    Raises
    ------
    UserError
        If it is of a newer format, changed, or not whole, or a path in it leads out of it.
    """
    file = folder / MANIFEST
    if not (file.exists() or file.is_symlink()):
        return None
    _check_file(file, folder)
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ValueError("too large")
        content = json.loads(file.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("no object")
        check_format(content.get(FORMAT_VERSION), KNOWN_FORMAT, folder)
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{file}: not a model's manifest: {reason_of(error)}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{file}: not a model's manifest: {in_short(error)}") from None
    for name in (CARD, DESCRIPTION, WEIGHTS):
        path, wanted = folder / name, manifest.sha256.get(name)
        _check_file(path, folder)
        if name == WEIGHTS and wanted is None and not path.exists():
            continue  # a method without training
        if not path.is_file():
            raise UserError(f"{path}: missing: {folder} isn't whole")
        if sha256(path) != wanted:
            raise UserError(f"{path}: {CHANGED}")
    return manifest


def _check_file(path: Path, folder: Path) -> None:
    if why := no_file_inside(path, folder):
        raise UserError(f"{path}: {why}")


def is_folder(model: str) -> bool:
    """Return whether a model's name is that of a folder, whether it is there or not, and no MLflow URI."""
    return not re.match(r"[A-Za-z][\w+.-]*:", model) and not (Path(model) / "MLmodel").exists()  # MLflow's own folder


def fetch_model(model: str, registered: Callable[[], Any]) -> tuple[Path, str | None]:
    """Return the folder of a model by its path or its MLflow URI, and its version.

    Parameters
    ----------
    model : str
    registered : callable
        Returns the `pipelines.tracking.registry.RegisteredModel` that looks up a URI: MLflow is imported only for one.

    Raises
    ------
    UserError
        If there is no such model, or it isn't as it was registered.
    """
    if is_folder(model):
        manifest = read_manifest(Path(model))
        return Path(model), manifest.version_here if manifest else None
    location = registered().locate(model)
    return location.download()[0], location.version
