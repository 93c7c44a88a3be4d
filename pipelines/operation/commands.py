"""Commands of ``scs``: a forecast by hand, an archive played back, and how issued forecasts did."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.errors import UserError
from pipelines.common.json_output import JSON, print_json
from pipelines.common.limits import Limits
from pipelines.common.rights import Rights
from pipelines.common.text import printable


def forecast(
    folder: Annotated[Path, typer.Argument(help="folder of radar files")],
    model: Annotated[
        str, typer.Option(help="MLflow URI, folder of a model, extrapolation, or persistence")
    ] = "models:/radar-nowcast@champion",
    minutes: Annotated[int, typer.Option(min=1, help="longest lead time, minutes")] = 60,
    out: Annotated[Path, typer.Option(help="folder to write into; the forecast gets one of its own in it")] = Path(
        "data/forecasts"
    ),
    domain: Annotated[str | None, typer.Option(help="whose policy holds, and what its files don't say")] = None,
    as_json: JSON = False,
) -> None:
    """Forecast from the newest frames of FOLDER; writes CF netCDF, Zarr, GeoTIFFs and pictures.

    Policy, members and memory limit are those of a domain in params.yaml, the first unless --domain names another; but
    by hand frames may be of any age, and nothing is used in the model's place. Areas are those of --domain.
    """
    from pipelines.params.radar import SILENT
    from pipelines.params.read import params_by_hand
    from pipelines.radar.readers.read import radar_files

    params = params_by_hand()
    settings = params.domain(domain or next(iter(params.domains), "none"))
    radar_files(folder)
    from pipelines.nowcast.registered_model import load
    from pipelines.operation.forecast import forecast as make_forecast
    from pipelines.operation.sources import of_folder

    by_hand = settings.policy.model_copy(update={"max_age_minutes": None, "fallback": []})
    loaded = load(model, settings.device)
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
    from pipelines.operation.products.attributes import ForecastAttributes
    from pipelines.operation.products.names import NETCDF, PICTURE, stamp
    from pipelines.operation.products.publish import publish

    published, about = out / stamp(observed[-1].time), ForecastAttributes.model_validate(result.attrs)
    for frame in about.input_frames:
        logging.info("frame of %s UTC: %s, sha256 %s", frame.time, printable(frame.file), frame.sha256)
    for warning in about.warnings:
        logging.warning("%s", warning)
    publish(result, observed, published)
    leads = result.sizes["lead_time"]
    if as_json:
        print_json({"folder": published, "reference_time": observed[-1].time, "lead_times": leads} | about.model_dump())
        return
    by = printable(about.model_name + (f" version {about.model_version}" if about.model_version else ""))
    print(f"{by}, {leads} lead times from {observed[-1].time} UTC")
    print(published / NETCDF, published / PICTURE, sep="\n")


def replay(
    folder: Annotated[Path, typer.Argument(help="folder of radar files")],
    inbox: Annotated[Path, typer.Argument(help="folder to copy them into")],
    speed: Annotated[float, typer.Option(min=0.001, help="times faster than the radar: 60 is an hour a minute")] = 60.0,
) -> None:
    """Copy the radar files of FOLDER into INBOX at the pace at which they once came."""
    from pipelines.operation import replay as archive
    from pipelines.params.read import params_if_any

    limits = params.ingest_radar.limits if (params := params_if_any()) else Limits()
    for path, time in archive.replay(folder, inbox, speed, limits):
        print(printable(f"{time} UTC  {path}"), flush=True)


def doctor(as_json: JSON = False) -> None:
    """Look at versions, GPU, servers, disk, permissions, models and newest frames: what is wrong, and what to do.

    Exit status 1 if anything is.
    """
    from pipelines.operation.doctor import examine
    from pipelines.params.read import read_params

    findings = []
    for finding in examine(read_params):
        findings.append(finding)
        if not as_json:
            print(printable(finding), flush=True)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    if any(finding.state == "WRONG" for finding in findings):
        raise typer.Exit(1)


def skill(
    domain: Annotated[str, typer.Argument(help="a key of params.yaml's section domains")],
    days: Annotated[int | None, typer.Option(min=1, help="days of rolling skill; the domain's skill_days else")] = None,
    day: Annotated[
        str | None, typer.Option(help="YYYY-MM-DD, UTC, whose cycles are listed; the newest forecast's else")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Print how well the forecasts of DOMAIN did that were issued, beside its baselines, from its ledger."""
    import numpy as np

    from pipelines.operation.skill_table import skill_records, skill_table
    from pipelines.params.read import read_params

    settings = read_params().domain(domain)
    try:
        date = np.datetime64(day, "D") if day is not None else None
    except ValueError:
        raise UserError(f"--day: {day!r} is no date like 2020-10-31") from None
    of = settings.out, days or settings.skill_days, date
    if as_json:
        print_json(skill_records(*of))
    else:
        print(skill_table(*of))
