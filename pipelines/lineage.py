"""Who made what from what: content hashes, the code's commit, and where the main checkout is."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from ruamel.yaml import YAML

CHUNK = 1 << 20
CODE = Path(__file__).resolve().parents[1]


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


def checkpoint_folder(name: str, settings: Mapping[str, Any], data_sha256: str) -> Path:
    """Give the folder of an unfinished work's checkpoints: the same settings and data go on from the same ones."""
    key = hashlib.sha256((json.dumps(settings, sort_keys=True) + data_sha256).encode()).hexdigest()
    return main_checkout() / "data" / "checkpoints" / f"{name}-{key[:16]}"


def dvc_md5(path: Path) -> str:
    """MD5 by which DVC knows a stage's output, from dvc.lock in the working directory; ``none`` if it knows none."""
    try:
        lock = YAML(typ="safe").load(Path("dvc.lock").read_text(encoding="utf-8"))
    except OSError:
        return "none"
    outs = (out for stage in (lock or {}).get("stages", {}).values() for out in stage.get("outs", []))
    return next((out["md5"] for out in outs if out["path"] == path.as_posix()), "none")


def frames_digest(frames: xr.Dataset) -> str:
    """Hex digest of what a store's frames are: their times, their source files' hashes and how they were converted."""
    rain = frames["rainfall_flux"].attrs
    digest = hashlib.sha256(repr((rain.get("z_r_a"), rain.get("z_r_b"), frames["crs"].attrs["crs_wkt"])).encode())
    for time, sha in zip(frames["time"].to_numpy(), frames["source_sha256"].to_numpy(), strict=True):
        digest.update(f"{time} {sha}\n".encode())
    return digest.hexdigest()
