"""The command ``scs``: the stages' functions for a hand at a terminal."""

import logging
from enum import StrEnum
from typing import Annotated

import typer

from pipelines.action.commands import gradients, recognize
from pipelines.common.stage import exit_on_user_error
from pipelines.driving.commands import steer
from pipelines.fetch.commands import fetch
from pipelines.nowcast.commands import champions, describe, evaluate, export_model, promote, rollback
from pipelines.operation.commands import doctor, forecast, replay, skill
from pipelines.outline.commands import annotate
from pipelines.project.commands import new
from pipelines.radar.commands import export, ingest, inspect
from pipelines.training.commands import chains

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


class Level(StrEnum):
    """From which on messages are shown."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


@app.callback()
def _log(
    log: Annotated[Level, typer.Option(help="messages on standard error, from which level on")] = Level.warning,
) -> None:
    logging.basicConfig(level=log.upper(), format="%(levelname)s: %(message)s")


# A room's commands import what they need when they run: torch and MLflow take seconds, and neither `scs --help` nor a
# mistyped folder needs them.
for command in (
    *(forecast, doctor, fetch, ingest, inspect, export, replay, chains, gradients, describe, evaluate),
    *(new, export_model, promote, rollback, champions, skill, recognize, steer, annotate),
):
    app.command()(command)


def main() -> None:
    """Run the command; a user's mistake is one line and exit status 1."""
    with exit_on_user_error():
        app()
