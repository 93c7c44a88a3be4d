"""The command ``scs``: the stages' functions for a hand at a terminal."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer

from pipelines.common.limits import Limits
from pipelines.common.rights import Rights
from pipelines.common.stage import exit_on_user_error
from pipelines.common.text import printable

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def _log() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")


@app.command()
def forecast(
    folder: Annotated[Path, typer.Argument(help="folder of radar files")],
    model: Annotated[
        str, typer.Option(help="MLflow URI of a registered model, or extrapolation, or persistence")
    ] = "models:/radar-nowcast@champion",
    minutes: Annotated[int, typer.Option(min=1, help="longest lead time, minutes")] = 60,
    out: Annotated[Path, typer.Option(help="folder to write into; the forecast gets one of its own in it")] = Path(
        "data/forecasts"
    ),
    domain: Annotated[str | None, typer.Option(help="whose policy holds, and what its files don't say")] = None,
) -> None:
    """Forecast from the newest frames of FOLDER; writes CF netCDF, Zarr, GeoTIFFs and pictures.

    Policy, members and memory limit are those of a domain in params.yaml, the first unless --domain names another; but
    by hand frames may be of any age, and nothing is used in the model's place. Areas are those of --domain.
    """
    # Here, not above: torch and MLflow take seconds to import, and neither `scs --help` nor a mistyped folder
    # needs them.
    from pipelines.params.nowcast import Fallback
    from pipelines.params.radar import SILENT
    from pipelines.params.read import read_params
    from pipelines.radar.readers.read import radar_files

    params = read_params()
    settings = params.domain(domain or next(iter(params.domains), "none"))
    radar_files(folder)
    from pipelines.nowcast.methods.interface import FALLBACKS
    from pipelines.nowcast.registered_model import load
    from pipelines.operation.forecast import fallback_model
    from pipelines.operation.forecast import forecast as make_forecast
    from pipelines.operation.products.attributes import ForecastAttributes
    from pipelines.operation.products.dataset import NETCDF, stamp
    from pipelines.operation.products.publish import PICTURE, publish
    from pipelines.operation.sources import of_folder

    by_hand = settings.policy.model_copy(update={"max_age_minutes": None, "fallback": []})
    loaded = fallback_model(cast(Fallback, model)) if model in FALLBACKS else load(model, settings.device)
    rights = Rights(settings.license, settings.attribution) if domain else None
    source = of_folder(folder, params.ingest_radar, settings if domain else SILENT, rights)
    result, observed = make_forecast(
        source,
        lambda: loaded,
        by_hand,
        minutes=minutes,
        members=settings.members,
        areas=settings.areas if domain else None,
        memory_limit_mb=settings.memory_limit_mb,
    )
    published, about = out / stamp(observed[-1].time), ForecastAttributes.model_validate(result.attrs)
    for warning in about.warnings:
        logging.warning("%s", warning)
    publish(result, observed, published)
    leads = result.sizes["lead_time"]
    by = printable(about.model_name + (f" version {about.model_version}" if about.model_version else ""))
    print(f"{by}, {leads} lead times from {observed[-1].time} UTC")
    print(published / NETCDF, published / PICTURE, sep="\n")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="a key of params.yaml's section fetch, or a preset")],
    start: Annotated[str | None, typer.Option("--from", help="first time, UTC: 2024-06-01 or 2024-06-01T12:30")] = None,
    end: Annotated[str | None, typer.Option("--to", help="up to this time, UTC, but without it")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to fill; data/raw/NAME else")] = None,
) -> None:
    """Fill a folder with the files of an archive elsewhere; again, only what isn't there.

    The key that a provider wants is the environment's SCS_AUTHORIZATION_NAME, for S3 that of AWS's variables.
    """
    from pipelines.fetch.command import fetch_archive

    fetch_archive(name, start, end, out or Path("data/raw") / name)


@app.command()
def ingest(
    source: Annotated[Path, typer.Argument(help="folder of radar files, searched with its subfolders")],
    store: Annotated[Path, typer.Argument(help="Zarr store to write, NAME.zarr; its tables lie beside it")],
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first bad file")] = False,
) -> None:
    """Write the radar files of SOURCE into STORE, as params.yaml's ingest_radar says.

    Exit status 0 if all are in; 10 and as many more as are in quarantine (110 for a hundred and more).
    """
    from pipelines.params.read import read_params
    from pipelines.radar.ingest import QUARANTINE_STATUS, ingest_radar
    from pipelines.radar.quality_table import tables_of

    bad = ingest_radar(source, store, *tables_of(store), read_params().ingest_radar, strict=strict)
    if bad:
        raise typer.Exit(QUARANTINE_STATUS + min(bad, 100))


@app.command()
def inspect(
    store: Annotated[Path, typer.Argument(help="Zarr store of frames")],
    html: Annotated[Path | None, typer.Option(help="page to write; else NAME.html beside the store")] = None,
) -> None:
    """Show what is in STORE, as text and as one HTML page with pictures: look at it before training."""
    from pipelines.radar.inspection import inspect_store

    print(inspect_store(store, html or store.with_suffix(".html"), _limits()))


@app.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="folder of radar files")],
    inbox: Annotated[Path, typer.Argument(help="folder to copy them into")],
    speed: Annotated[float, typer.Option(min=0.001, help="times faster than the radar: 60 is an hour a minute")] = 60.0,
) -> None:
    """Copy the radar files of FOLDER into INBOX at the pace at which they once came."""
    from pipelines.operation import replay as archive

    for path, time in archive.replay(folder, inbox, speed, _limits()):
        print(printable(f"{time} UTC  {path}"), flush=True)


@app.command()
def chains(
    layers: Annotated[str, typer.Option(help="numbers of layers: 1..17, or 2,5,10")] = "1..17",
    steps: Annotated[str, typer.Option(help="numbers of time steps, likewise")] = "1..20",
    p: Annotated[str, typer.Option(help="stop probabilities of the temporal path")] = "0,0.25,0.5,0.75,1",
    one_sided: Annotated[bool, typer.Option("--one-sided", help="the one-sided switch, not the two-sided")] = False,
    out: Annotated[Path, typer.Option(help="folder to write chains.csv and chains.png into")] = Path("data/chains"),
) -> None:
    """Tabulate and draw the back-propagation chains that STSGD leaves (the paper's Fig. 4)."""
    from pipelines.training.gradient_chains import parse_probabilities, parse_range, write_chains

    files = out / "chains.csv", out / "chains.png"
    kind = "one_sided" if one_sided else "two_sided"
    write_chains(parse_range(layers), parse_range(steps), parse_probabilities(p), kind, *files)
    print(*files, sep="\n")


@app.command()
def gradients(
    model: Annotated[str, typer.Argument(help="a key of params.yaml's section action_models")],
    trained: Annotated[Path | None, typer.Option(help="folder of that network, trained, to measure besides")] = None,
    store: Annotated[Path, typer.Option(help="Zarr store of clips")] = Path("data/video/clips.zarr"),
    p: Annotated[str, typer.Option(help="stop probabilities of the temporal path")] = "0.25,0.5,0.75",
    one_sided: Annotated[bool, typer.Option("--one-sided", help="the one-sided switch, not the two-sided")] = False,
    out: Annotated[Path, typer.Option(help="folder to write gradients.csv and gradients.png into")] = Path(
        "data/chains"
    ),
) -> None:
    """Measure the gradient of MODEL, with and without STSGD, beside the expected number of chains."""
    from pipelines.common.errors import UserError
    from pipelines.params.read import read_params
    from pipelines.params.training import Switch
    from pipelines.training.gradient_chains import parse_probabilities

    ps, params = parse_probabilities(p), read_params()
    if (of_params := params.action_models.get(model)) is None:
        raise UserError(f"params.yaml: action_models: no {model!r} among {', '.join(params.action_models)}")
    from pipelines.action.gradients import action_gradients
    from pipelines.training.gradient_norms import write_gradients

    files = out / "gradients.csv", out / "gradients.png"
    switches = [Switch(kind="off"), *(Switch(kind="one_sided" if one_sided else "two_sided", p=p) for p in ps)]
    write_gradients(action_gradients(of_params, params.train_action, store, switches, trained=trained), *files)
    print(*files, sep="\n")


@app.command()
def describe(
    model: Annotated[str, typer.Argument(help="a key of params.yaml's section models, or an MLflow URI")],
    grid: Annotated[tuple[int, int], typer.Option(help="rows and columns of the grid, pixels")] = (256, 256),
) -> None:
    """Print a network's parameters, multiply-adds, receptive field, and what it wants as input."""
    from pipelines.common.errors import UserError
    from pipelines.nowcast.methods.network import build_network
    from pipelines.nowcast.methods.normalisation import thresholds
    from pipelines.params.read import read_params
    from scs_model import EncoderForecaster
    from scs_model.networks.describe import describe as describe_network

    if min(grid) < 1:
        raise UserError(f"--grid: rows and columns are 1 or more; got {grid[0]} {grid[1]}")
    params = read_params()
    if of_params := params.models.get(model):
        network = EncoderForecaster(
            **of_params.network,
            subtasks=of_params.subtasks is not None,
            leads=params.index.leads,
            thresholds=thresholds(params.index.rates) if of_params.probabilistic else None,
        )
        inputs = params.index.inputs
    elif ":" not in model and "/" not in model:
        raise UserError(f"params.yaml: models: no {model!r} among {', '.join(params.models)}")
    else:
        from pipelines.nowcast.registered_model import load

        description = load(model).description
        if description.network is None:
            raise UserError(f"{model}: {description.method}, which is no network")
        network, inputs = build_network(description), description.inputs
    numbers = describe_network(network, inputs=inputs, steps=params.index.leads, height=grid[0], width=grid[1])
    flow = ", and further wherever its flows point" if numbers.follows_flow else ""
    heads = f", and {numbers.other_parameters:,} of the subtasks' heads in training" if numbers.other_parameters else ""
    print(f"live parameters      {numbers.live_parameters:,}{heads}")
    print(f"multiply-adds/frame  {numbers.multiply_adds_per_frame:.3g} on {grid[0]}×{grid[1]} pixels")
    print(
        f"receptive field      {numbers.newest_receptive_field_pixels} pixels of the newest frame for the first "
        f"forecast, {numbers.receptive_field_pixels} of the oldest for the last{flow}"
    )
    print(f"wants                {numbers.wants}")


@app.command()
def evaluate(
    source: Annotated[Path, typer.Argument(help="store of frames, or a folder of radar files")],
    model: Annotated[
        list[str], typer.Option(help="baseline, MLflow URI or trained model's folder; may be given several times")
    ],
    out: Annotated[Path, typer.Option(help="table to write, NAME.json; NAME.md and pictures lie beside it")],
    minutes: Annotated[int, typer.Option(min=1, help="longest lead time, minutes")] = 60,
) -> None:
    """Score models and baselines on all frames of SOURCE, without training.

    Baselines: persistence, extrapolation, sprog, steps, linda, lagrangian_probability, neighbourhood, climatology.
    """
    from pipelines.nowcast.archive_evaluation import evaluate_source
    from pipelines.params.read import read_params

    written = evaluate_source(model, source, out, minutes=minutes, params=read_params())
    print(written[0].read_text(encoding="utf-8"), *written, sep="\n")


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="models:/radar-nowcast/NUMBER")],
    reason: Annotated[str, typer.Option(help="why; kept for good")],
) -> None:
    """Make MODEL the champion by hand, whatever the gate says."""
    from pipelines.nowcast import promotion

    print(f"champion: version {promotion.promote(model, reason)}")


@app.command()
def rollback() -> None:
    """Make the champion before the present one the champion again."""
    from pipelines.nowcast import promotion

    print(f"champion: version {promotion.rollback()}")


@app.command()
def champions() -> None:
    """List who was champion from when to when, and why."""
    from pipelines.nowcast.specification import RADAR
    from pipelines.tracking.decisions import champion_periods, read_decisions

    print(*champion_periods(read_decisions(RADAR)), sep="\n")


@app.command()
def skill(
    domain: Annotated[str, typer.Argument(help="a key of params.yaml's section domains")],
    days: Annotated[int | None, typer.Option(min=1, help="days of rolling skill; the domain's skill_days else")] = None,
    day: Annotated[
        str | None, typer.Option(help="YYYY-MM-DD, UTC, whose cycles are listed; the newest forecast's else")
    ] = None,
) -> None:
    """Print how well the forecasts of DOMAIN did that were issued, beside its baselines, from its ledger."""
    from pipelines.common.errors import UserError
    from pipelines.operation.skill_table import skill_table
    from pipelines.params.read import read_params

    settings = read_params().domain(domain)
    try:
        date = np.datetime64(day, "D") if day is not None else None
    except ValueError:
        raise UserError(f"--day: {day!r} is no date like 2020-10-31") from None
    print(skill_table(settings.out, days or settings.skill_days, date))


@app.command()
def recognize(
    clip: Annotated[Path, typer.Argument(help="video file, of any length, or a folder of pictures")],
    model: Annotated[
        str, typer.Option(help="MLflow URI of a registered model")
    ] = "models:/action-recognition@champion",
) -> None:
    """Print the five most probable actions of CLIP."""
    from pipelines.common.errors import UserError

    if not clip.exists():
        raise UserError(f"{clip}: no such file")
    from pipelines.action.registered_model import recognize as recognize_clip
    from pipelines.params.read import read_params

    # A clip needs none of what params.yaml says.
    limits = Limits(read_params().ingest_video.max_memory_mb) if Path("params.yaml").exists() else Limits()
    probabilities, name, version = recognize_clip(clip, model, limits)
    print(printable(f"{clip}: by {name}, version {version or 'none'}"))
    for label, probability in list(probabilities.items())[:5]:
        print(f"{probability:7.1%}  {printable(label)}")


@app.command()
def steer(
    source: Annotated[
        Path, typer.Argument(help="video, folder of pictures, donkeycar tub, or comma.ai's camera (.h5)")
    ],
    model: Annotated[str, typer.Option(help="MLflow URI of a registered model")] = "models:/steering-angle@champion",
    out: Annotated[Path | None, typer.Option(help="CSV to write; without it, to the terminal")] = None,
) -> None:
    """Say the wheel's angle after each frame of SOURCE, of any length. For study: it drives no car."""
    from pipelines.common.errors import UserError

    if not source.exists():
        raise UserError(f"{source}: no such file")
    from pipelines.driving.steer import steer as steer_source
    from pipelines.params.read import read_params

    of_drives = read_params().ingest_drives if Path("params.yaml").exists() else None
    limits = Limits(of_drives.max_memory_mb) if of_drives else Limits()
    rate = of_drives.folder_rate if of_drives else 10.0
    done = steer_source(source, model, out or sys.stdout, folder_rate=rate, limits=limits)
    bad = f", {done.bad} without an angle: these frames can't be read" if done.bad else ""
    line = f"{source}: {done.rows} rows, {done.unit}, by {done.name}, version {done.version or 'none'}{bad}"
    print(printable(line), file=sys.stderr)


@app.command()
def annotate(
    source: Annotated[Path, typer.Argument(help="image, or a folder of images that --boxes names")],
    box: Annotated[list[str], typer.Option(help="x0,y0,x1,y1 in pixels; may be given several times")] = [],  # noqa: B006
    boxes: Annotated[
        Path | None, typer.Option(help="CSV of x0,y0,x1,y1, and image and class where they differ")
    ] = None,
    fix: Annotated[list[str], typer.Option(help="i,x,y: where vertex i is; those after it follow")] = [],  # noqa: B006
    class_name: Annotated[str, typer.Option("--class", help="of what is in the boxes")] = "",
    layout: Annotated[str, typer.Option("--format", help="labelme, coco or geojson")] = "labelme",
    beam: Annotated[int, typer.Option(min=1, max=64, help="polygons that the search keeps")] = 1,
    out: Annotated[Path, typer.Option(help="folder for annotations and pictures of them")] = Path("data/annotations"),
    model: Annotated[
        str, typer.Option(help="MLflow URI of a registered model")
    ] = "models:/outline-annotation@champion",
) -> None:
    """Outline the objects in boxes of SOURCE: a polygon each, in the image's pixels, and a picture of it."""
    from pipelines.common.errors import UserError

    if not source.exists():
        raise UserError(f"{source}: no such file")
    if layout not in ("labelme", "coco", "geojson"):
        raise UserError(f"--format {layout}: labelme, coco or geojson is wanted")
    from pipelines.outline import registered_model as outline
    from pipelines.params.read import read_params

    if box and source.is_dir():
        raise UserError("--box is of one image: name boxes of a folder's images by --boxes")
    asked = [
        outline.Asked(source.name, outline.parse_numbers(text, "--box", "x0,y0,x1,y1"), class_name) for text in box
    ]
    asked += outline.read_boxes(boxes, source, class_name) if boxes else []
    limits = Limits(read_params().ingest_images.max_memory_mb) if Path("params.yaml").exists() else Limits()
    fixes = outline.parse_fixes(fix)
    images, files, by = outline.annotate(
        source, asked, out, uri=model, layout=cast(Any, layout), fixes=fixes, beam=beam, limits=limits
    )
    print(printable(f"{sum(len(image.objects) for image in images)} objects in {len(images)} images, by {by}"))
    print(*files, sep="\n")


def _limits() -> Limits:
    """Return those of radar files; by hand, a folder needs no params.yaml."""
    from pipelines.params.read import read_params

    return read_params().ingest_radar.limits if Path("params.yaml").exists() else Limits()


def main() -> None:
    """Run the command; a user's mistake is one line and exit status 1."""
    with exit_on_user_error():
        app()
