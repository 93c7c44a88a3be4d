"""Who made what from what: content hashes, the code's commit, and where the main checkout is."""

import hashlib
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

CHUNK = 1 << 20
CODE = Path(__file__).resolve().parents[2]


def sha256(path: Path) -> str:
    """Hex digest of a file, or of a folder: of its files' relative names and digests in sorted order."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    else:
        with path.open("rb") as stream:
            while block := stream.read(CHUNK):
                digest.update(block)
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Hex digest of a file's size and time of modification, or of those of all files in a folder.

    What has the same one hasn't changed, and nothing is read: for what is too large to hash each time.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        about = file.stat()
        digest.update(f"{file}\0{about.st_size} {about.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def code_commit() -> str:
    """Commit of the code in use, with ``-dirty`` where tracked files differ; ``unknown`` where git knows none."""
    here = Path(__file__).parent
    describe = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(describe, cwd=here, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git here
        return "unknown"
    return done.stdout.strip() or "unknown"


def code_sha256() -> str:
    """Hex digest of the code in use, whether committed or not."""
    files = (file for part in ("pipelines", "scs_model") for file in (CODE / part).rglob("*.py"))
    return hashlib.sha256("".join(sha256(file) for file in sorted(files)).encode()).hexdigest()


def main_checkout() -> Path:
    """Folder of the repository in use, and from one of DVC's temporary experiment folders that of the repository.

    What experiments share (the MLflow store, checkpoints to resume from, input folders) lies there. It is looked
    for from the working directory upwards; outside any repository it is the one that this code lies in.
    """
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    return CODE


def dvc_md5(path: Path) -> str:
    """MD5 by which DVC knows a stage's output, from dvc.lock in the working directory; ``none`` if it knows none."""
    try:
        lock = YAML(typ="safe").load(Path("dvc.lock").read_text(encoding="utf-8"))
    except OSError:
        return "none"
    outs = (out for stage in (lock or {}).get("stages", {}).values() for out in stage.get("outs", []))
    return next((out["md5"] for out in outs if out["path"] == path.as_posix()), "none")
