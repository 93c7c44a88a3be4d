"""Commands of ``scs``: a project of one's own."""

from pathlib import Path
from typing import Annotated

import typer


def new(folder: Annotated[Path, typer.Argument(help="folder to make")]) -> None:
    """Lay out FOLDER as a pipeline of its own: params.yaml, DVC's stages, Prefect's deployments."""
    from pipelines.project.new import new_project

    new_project(folder)
    print(folder / "README.md")
