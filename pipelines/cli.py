"""The command ``scs``: the stages' functions for a hand at a terminal."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from pipelines.stage import ends_in_words

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def _log() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")


@app.command()
def forecast(
    folder: Annotated[Path, typer.Argument(help="folder of radar files")],
    model: Annotated[str, typer.Option(help="MLflow URI of a registered model")] = "models:/radar-nowcast@champion",
    minutes: Annotated[int, typer.Option(min=1, help="longest lead time, minutes")] = 60,
    out: Annotated[Path, typer.Option(help="folder to write into; the forecast gets one of its own in it")] = Path(
        "data/forecasts"
    ),
) -> None:
    """Forecast from the newest frames of FOLDER; writes a CF netCDF and a picture."""
    # Here, not above: torch and MLflow take seconds to import, and neither `scs --help` nor a mistyped folder
    # needs them.
    from pipelines.params import read_params
    from pipelines.readers import radar_files

    z_r = read_params().ingest_radar.z_r
    radar_files(folder)
    from pipelines import forecast as nowcast
    from pipelines.product import NETCDF, PICTURE, publish, stamp
    from pipelines.tracking.registry import load

    loaded = load(model)
    frames, step_s = nowcast.newest_of_folder(folder, loaded, (z_r.a, z_r.b))
    result = nowcast.forecast(frames, step_s, loaded, minutes=minutes)
    published = out / stamp(frames[-1].time)
    publish(result, frames[-1], published)
    print(f"{loaded.name} version {loaded.version}, {result.sizes['lead_time']} lead times from {frames[-1].time} UTC")
    print(published / NETCDF, published / PICTURE, sep="\n")


@app.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="folder of radar files")],
    inbox: Annotated[Path, typer.Argument(help="folder to copy them into")],
    speed: Annotated[float, typer.Option(min=0.001, help="times faster than the radar: 60 is an hour a minute")] = 60.0,
) -> None:
    """Copy the radar files of FOLDER into INBOX at the pace at which they once came."""
    from pipelines import replay as archive

    for path, time in archive.replay(folder, inbox, speed):
        print(f"{time} UTC  {path}", flush=True)


def main() -> None:
    """Run the command; a user's mistake is one line and exit status 1."""
    with ends_in_words():
        app()
