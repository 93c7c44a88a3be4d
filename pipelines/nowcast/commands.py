"""Commands of ``scs``: networks and methods, their scores, and which is the champion."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.errors import UserError
from pipelines.common.json_output import JSON, print_json
from pipelines.common.text import printable


def describe(
    model: Annotated[str, typer.Argument(help="a key of params.yaml's section models, an MLflow URI, or a folder")],
    grid: Annotated[tuple[int, int], typer.Option(help="rows and columns of the grid, pixels")] = (256, 256),
    as_json: JSON = False,
) -> None:
    """Print a network's parameters, multiply-adds, receptive field, and what it wants as input."""
    from pipelines.nowcast.methods.network import build_network
    from pipelines.nowcast.methods.normalisation import thresholds
    from pipelines.nowcast.registered_model import folder_of, load
    from pipelines.params.read import entry, params_by_hand
    from scs_model import EncoderForecaster
    from scs_model.networks.describe import describe as describe_network

    if min(grid) < 1:
        raise UserError(f"--grid: rows and columns are 1 or more; got {grid[0]} {grid[1]}")
    params = params_by_hand()
    if model in params.models or not (":" in model or ((folder := folder_of(model)) and folder.is_dir())):
        of_params = entry(params.models, "models", model)
        network = EncoderForecaster(
            **of_params.network,
            subtasks=of_params.subtasks is not None,
            leads=params.index.leads,
            thresholds=thresholds(params.index.rates) if of_params.probabilistic else None,
        )
        inputs = params.index.inputs
    else:
        description = load(model).description
        if description.network is None:
            raise UserError(f"{model}: {description.method}, which is no network")
        network, inputs = build_network(description), description.inputs
    numbers = describe_network(network, inputs=inputs, steps=params.index.leads, height=grid[0], width=grid[1])
    if as_json:
        print_json(asdict(numbers))
        return
    flow = ", and further wherever its flows point" if numbers.follows_flow else ""
    heads = f", and {numbers.other_parameters:,} of the subtasks' heads in training" if numbers.other_parameters else ""
    print(f"live parameters      {numbers.live_parameters:,}{heads}")
    print(f"multiply-adds/frame  {numbers.multiply_adds_per_frame:.3g} on {grid[0]}×{grid[1]} pixels")
    print(
        f"receptive field      {numbers.newest_receptive_field_pixels} pixels of the newest frame for the first "
        f"forecast, {numbers.receptive_field_pixels} of the oldest for the last{flow}"
    )
    print(f"wants                {numbers.wants}")


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
    from pipelines.params.read import params_by_hand

    written = evaluate_source(model, source, out, minutes=minutes, params=params_by_hand())
    print(written[0].read_text(encoding="utf-8"), *written, sep="\n")


def export_model(
    model: Annotated[str, typer.Argument(help="models:/NAME/NUMBER")],
    folder: Annotated[Path, typer.Argument(help="folder to write")],
    despite_rights: Annotated[
        bool,
        typer.Option("--despite-rights", help="though a licence of its training data is unknown, or restricts its use"),
    ] = False,
) -> None:
    """Write MODEL of the registry as FOLDER, which --model and model= take without MLflow."""
    from pipelines.nowcast.export_model import export_model as write_folder

    written = write_folder(model, folder, despite_rights=despite_rights)
    print(printable(f"{folder}: {written.name} version {written.version}"))


def promote(
    model: Annotated[str, typer.Argument(help="models:/radar-nowcast/NUMBER")],
    reason: Annotated[str, typer.Option(help="why; kept for good")],
) -> None:
    """Make MODEL the champion by hand, whatever the gate says."""
    from pipelines.nowcast import promotion

    print(f"champion: version {promotion.promote(model, reason)}")


def rollback() -> None:
    """Make the champion before the present one the champion again; twice goes two back."""
    from pipelines.nowcast import promotion

    print(f"champion: version {promotion.rollback()}")


def champions(as_json: JSON = False) -> None:
    """List who was champion from when to when, and why."""
    from pipelines.nowcast.specification import RADAR
    from pipelines.tracking.decisions import champion_periods, read_decisions

    periods = champion_periods(read_decisions(RADAR))
    if as_json:
        print_json([asdict(period) for period in periods])
    else:
        print("\n".join(map(str, periods)) or f"{RADAR.name}: nobody has been decided on yet")
