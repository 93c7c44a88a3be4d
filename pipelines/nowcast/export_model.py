"""A registered model written as a folder that needs no MLflow: the command ``scs export-model``."""

import shutil
from pathlib import Path

from pipelines.common.errors import UserError
from pipelines.common.files import new_folder
from pipelines.common.provenance import sha256
from pipelines.common.rights import Rights
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.model_card import rights_lines
from pipelines.nowcast.specification import RADAR
from pipelines.training.exported_model import CARD, DESCRIPTION, WEIGHTS, Manifest


def export_model(uri: str, folder: Path, *, despite_rights: bool = False) -> Manifest:
    """Write a version of a registered model into ``folder``, whole or not at all.

    Parameters
    ----------
    uri : str
        models:/NAME/NUMBER or models:/NAME@ALIAS, of any task.
    folder : Path
        Must not be there, or be empty.
    despite_rights : bool
        Whether to write one whose training archives are of an unknown licence, or one that restricts what may be done.

    Raises
    ------
    UserError
        If there is no such version, it isn't as it was registered, the licences don't let it go, or there is a folder.
    """
    location = RADAR.locate(uri)
    if location.version is None:
        raise UserError(f"{uri}: not a version of a registered model: models:/NAME/NUMBER")
    source, _ = location.download()
    lines, restrictions = _rights(source)
    if restrictions and not despite_rights:
        raise UserError(f"{uri}: {'; '.join(restrictions)}; --despite-rights writes it all the same")
    with new_folder(folder) as temporary:
        for name in (DESCRIPTION, WEIGHTS):
            if (source / name).exists():
                shutil.copyfile(source / name, temporary / name)
        card = [f"# {location.name}, version {location.version}", location.card, "## Rights", "\n".join(lines)]
        (temporary / CARD).write_text("\n\n".join(filter(None, card)) + "\n", encoding="utf-8")
        digests = {file.name: sha256(file) for file in temporary.iterdir()}
        manifest = Manifest.model_validate(
            {
                "name": location.name,
                "version": location.version,
                "sha256": digests,
                "bytes_a_pixel": dict(location.bytes_a_pixel),
            }
        )
        manifest.write(temporary)
    return manifest


def _rights(folder: Path) -> tuple[list[str], list[str]]:
    """Return a line on each archive that a model was trained on, and what their licences restrict."""
    try:
        description = ModelDescription.read(folder)
    except UserError:  # another task's, which doesn't keep them
        return ["- licence of what it was trained on: unknown: its task doesn't keep it"], Rights().restrictions
    if description.network is None:
        return ["- nothing of it is trained"], []
    rights = description.rights if description.archives is not None else [Rights()]
    restrictions = dict.fromkeys(words for one in rights for words in one.restrictions)
    return rights_lines(description), list(restrictions)
