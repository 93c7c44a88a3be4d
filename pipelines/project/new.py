"""A project for a team that keeps its pipeline in a repository of its own: the command ``scs new``.

Its files are this repository's, but for the code: stages depend on the version that is installed in its place.
"""

import re
from pathlib import Path

from pipelines.common.dvc_deps import replace_code_deps
from pipelines.common.extras import DISTRIBUTION
from pipelines.common.files import new_folder
from pipelines.project.write_version import main as write_version

HERE = Path(__file__).parent
VERSION = "scs.version"
COPIED = {  # from their names in this folder
    "README.md": "README.md",
    "params.yaml": "params.yaml",
    "gitignore": ".gitignore",
    "dvc_config": ".dvc/config",
    "dvc_gitignore": ".dvc/.gitignore",
    "server.env": "mlflow/server.env",
}
ELSEWHERE = r"docs/\w+\.md|pipelines/params"  # where a comment leads, and what a project hasn't got
STAGES = f"""stages:
  version:
    desc: Which scs-nowcast is installed; all that it makes depends on it
    cmd: python -m pipelines.project.write_version {VERSION}
    always_changed: true
    outs:
      - {VERSION}: {{cache: false}}

"""


def new_project(folder: Path) -> None:
    """Write a project into ``folder``, whole or not at all; raises UserError as `new_folder` does."""
    with new_folder(folder) as temporary:
        for name, copy in COPIED.items():
            (temporary / copy).parent.mkdir(parents=True, exist_ok=True)
            text = (HERE / name).read_text(encoding="utf-8")
            (temporary / copy).write_text(re.sub(ELSEWHERE, rf"{DISTRIBUTION}'s \g<0>", text), encoding="utf-8")
        stages = replace_code_deps((HERE / "stages.yaml").read_text(encoding="utf-8"), lambda module: [VERSION])
        (temporary / "dvc.yaml").write_text(stages.replace("stages:\n", STAGES, 1), encoding="utf-8")
        flows = (HERE / "prefect.yaml").read_text(encoding="utf-8")
        (temporary / "prefect.yaml").write_text(flows.replace("flows/train.py:train", "flows.train.train"), "utf-8")
        write_version(temporary / VERSION)
