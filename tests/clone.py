"""A repository of its own for a test, as a clone of the working tree would be, and commands in it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def sh(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would in an activated environment; it must succeed."""
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        env=clean_environment(folder) | environment,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def clean_environment(folder: Path) -> dict[str, str]:
    """The environment without what other tests have set, with this repository's packages first."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_", "DVC_"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return ours | {"PATH": path, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def copy_working_tree(folder: Path) -> None:
    """Copy what git has, or would take, of this working tree."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        if os.path.lexists(ROOT / name):  # not one that is deleted and still in the index
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)  # a clone has links, too


def commit(folder: Path) -> None:
    """Make a folder a repository with all of it committed, and this process's environment its own."""
    identity = "-c user.name=test -c user.email=test@localhost"
    sh(f"git init -q . && git add -A && git {identity} commit -qm start", folder)
    (folder / ".venv").symlink_to(sys.prefix)


def registry(repository: Path) -> dict[str, dict[str, str]]:
    """Alias and tags of each version, with its run's, as the MLflow client tells it."""
    code = """
import json, mlflow
client = mlflow.MlflowClient("sqlite:///mlflow/mlflow.db")
aliases = client.get_registered_model("radar-nowcast").aliases
versions = client.search_model_versions("name = 'radar-nowcast'")
print(json.dumps({"aliases": aliases, **{v.version: client.get_run(v.run_id).data.tags | v.tags for v in versions}}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
