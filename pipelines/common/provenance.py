"""Who made what from what: content hashes, the code's commit, and where the main checkout is."""

import hashlib
import importlib.metadata
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from ruamel.yaml import YAML

from pipelines.common.extras import DISTRIBUTION
from pipelines.common.files import leaves
from pipelines.common.imports import CODE, PACKAGES, import_closure

IS_CHECKOUT = (CODE / "dvc.yaml").is_file()  # and no wheel's files among all that is installed
# Part of the refusal of a model whose content isn't what was registered, by which it is known as one.
CHANGED = "changed since it was registered"


def sha256(path: Path) -> str:
    """Return the hex digest of a file, or of a folder: of its files' relative names and digests in sorted order."""
    if not path.is_dir():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    files = sorted(p for p in leaves(path) if p.is_file())
    return folder_sha256({file.relative_to(path).as_posix(): sha256(file) for file in files})


def folder_sha256(digests: Mapping[str, str]) -> str:
    """Return the hex digest of a folder from those of its files by their relative names, in order."""
    return hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in digests.items()).encode()).hexdigest()


class FileSignature(NamedTuple):
    """By what a file is told to be still the same, without reading it."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return that of a file, or of a link to nowhere; raises as :meth:`Path.stat` does."""
        try:
            stat = path.stat()
        except OSError:
            stat = path.lstat()
        return cls(stat.st_size, stat.st_mtime_ns)


def fingerprint(path: Path) -> str:
    """Return the hex digest of a file's name and signature, or of those of all files in a folder.

    What has the same one hasn't changed, and nothing is read: for what is too large to hash each time.
    """
    files = sorted(file for file in leaves(path) if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        signature = FileSignature.of(file)
        digest.update(f"{file}\0{signature.size} {signature.changed_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def code_sha256(*modules: str, libraries: Iterable[str] = ()) -> str:
    """Return the hex digest of the code that ``modules`` run, whether committed or not: of their import closure.

    Parameters
    ----------
    *modules : str
        Dotted names; without any it is all of our code.
    libraries : iterable of str
        Distributions whose versions count too.
    """
    every = (file for package in PACKAGES for file in (CODE / package).rglob("*.py"))
    files = import_closure(*modules) if modules else sorted(every)
    lines = [f"{file.relative_to(CODE).as_posix()} {sha256(file)}" for file in files]
    lines += [f"{name} {importlib.metadata.version(name)}" for name in libraries]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def code_commit() -> str:
    """Return the commit of the code in use; ``unknown`` where git knows none.

    With ``-dirty`` where tracked files differ. Of an installed package it is the version: a commit around its
    environment is another project's.
    """
    if not IS_CHECKOUT:
        return importlib.metadata.version(DISTRIBUTION)
    describe = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(describe, cwd=CODE, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git here
        return "unknown"
    return done.stdout.strip() or "unknown"


def main_checkout() -> Path:
    """Return the folder of the repository in use; from one of DVC's temporary experiment folders, the repository's.

    What experiments share (the MLflow store, checkpoints to resume from, input folders) lies there. It is looked
    for from the working directory upwards; outside any repository it is the one that this code lies in, and of an
    installed package the working directory.
    """
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    return CODE if IS_CHECKOUT else here


def find_source(source: str) -> Path:
    """Return the folder named in params.yaml; where it isn't below the working directory, below the main checkout."""
    return Path(source) if Path(source).exists() else main_checkout() / source


def dvc_md5(path: Path) -> str:
    """Return the MD5 of a stage's output in dvc.lock of the working directory; ``none`` if there is none."""
    try:
        lock = YAML(typ="safe").load(Path("dvc.lock").read_text(encoding="utf-8"))
    except OSError:
        return "none"
    outs = (out for stage in (lock or {}).get("stages", {}).values() for out in stage.get("outs", []))
    return next((out["md5"] for out in outs if out["path"] == path.as_posix()), "none")
