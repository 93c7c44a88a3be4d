"""Commands of ``scs``: what a wheel's angle would be."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.errors import UserError
from pipelines.common.limits import Limits
from pipelines.common.text import printable


def steer(
    source: Annotated[
        Path, typer.Argument(help="video, folder of pictures, donkeycar tub, or comma.ai's camera (.h5)")
    ],
    model: Annotated[str, typer.Option(help="MLflow URI of a model, or a folder")] = "models:/steering-angle@champion",
    out: Annotated[Path | None, typer.Option(help="CSV to write; without it, to the terminal")] = None,
) -> None:
    """Write the wheel's angle after each frame of SOURCE, of any length. For study: it drives no car."""
    if not source.exists():
        raise UserError(f"{source}: no such file")
    from pipelines.driving.steer import steer as steer_source
    from pipelines.params.read import params_if_any

    limits, rate = Limits(), 10.0
    if params := params_if_any():
        limits, rate = Limits(params.ingest_drives.max_memory_mb), params.ingest_drives.folder_rate
    done = steer_source(source, model, out or sys.stdout, folder_rate=rate, limits=limits)
    bad = f", {done.bad} without an angle: these frames can't be read" if done.bad else ""
    line = f"{source}: {done.rows} rows, {done.unit}, by {done.name}, version {done.version or 'none'}{bad}"
    print(printable(line), file=sys.stderr)
