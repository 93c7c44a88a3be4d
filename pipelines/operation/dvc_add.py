"""A folder that grows, under DVC: what is new in it is added, and pushed where there is a remote."""

import json
import subprocess
import sys
from pathlib import Path

from pipelines.common.errors import Unavailable, UserError
from pipelines.common.provenance import main_checkout


def dvc_add(folder: Path) -> str:
    """Bring DVC's record of a folder (``FOLDER.dvc``) up to date, and its default remote if there is one.

    Returns
    -------
    str
        What was done, in words. Where the folder lies in no repository of DVC, nothing is: it can be a stage's input
        all the same.

    Raises
    ------
    UserError
        If DVC knows files of this folder that are gone: to add it now would forget them.
    Unavailable
        If DVC can't now: another command holds its lock, or the remote doesn't answer.
    """
    root, folder = main_checkout().resolve(), folder.resolve()
    if not (root / ".dvc").is_dir() or not folder.is_relative_to(root):
        return "not under DVC"
    name, record = folder.relative_to(root).as_posix(), folder.with_name(f"{folder.name}.dvc")
    done = []
    changed: dict[str, list[str]] = {}
    if record.exists():
        changed = json.loads(_dvc(root, "data", "status", "--granular", "--json", name)).get("uncommitted", {})
        if gone := sorted(path for path in changed.get("deleted", []) if not path.endswith("/")):
            lost = f"{', '.join(gone[:3])}{' and more' if len(gone) > 3 else ''}"
            raise UserError(f"{folder}: DVC knows {lost}, and it is gone: `dvc checkout {record.name}` restores it")
    if changed or not record.exists():
        # No links to the cache: a file that is here is not moved, so a kill leaves it.
        _dvc(root, "add", "--quiet", "--no-relink", name)
        done.append(f"in {record.relative_to(root)}, which is to be committed")
    if _dvc(root, "config", "core.remote").strip():
        _dvc(root, "push", "--quiet", str(record))
        done.append("pushed")
    return " and ".join(done) or "DVC knows all"


def _dvc(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unavailable(f"dvc {' '.join(arguments)}: {' '.join(done.stderr.split())[:200]}")
    return done.stdout
