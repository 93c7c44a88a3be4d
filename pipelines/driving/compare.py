"""Stage ``compare_driving``: every network's scores on the test drives in one table, beside what needs none."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipelines.common.files import write_text
from pipelines.common.markdown import table_head, table_row
from pipelines.common.stage import run
from pipelines.driving.drives import open_drives
from pipelines.driving.figures import STREAMS, draw_lengths, draw_over_time, draw_streams, draw_tolerances
from pipelines.driving.scores import ROADS, accuracy, angle_scores, baselines, difference
from pipelines.params.driving import DrivingModel, Tolerances
from pipelines.params.read import read_params
from pipelines.training.results import read_results
from pipelines.verification.group_bootstrap import DRAWS, show_interval

HOW = (
    "{frames} test frames of {groups} groups (sessions, or their minutes where sessions are few), the same of all "
    "networks. Accuracy: the share of frames whose angle is within λ of the driver's; unless said otherwise λ is "
    "{headline:g} {unit}. In brackets: 95 % interval of a bootstrap over groups ({draws} draws). Change: of the angle "
    "from a frame to the next, on average; the driver's own is {change:.3g}. Last known angle: the driver's before the "
    "observed frames, or at the last of them where a later angle is asked for. T¹ alone: the angle that the spatial "
    "stream says. T² probe: a ridge regression on the temporal stream's features, fitted to the train drives. Straight "
    "and curved: the driver's angle below or from {curved:g} {unit} on; hidden: as the drives say. For study: no "
    "number here says that a network may drive a car."
)


def write_table(
    results: Mapping[str, pd.DataFrame],
    models: Mapping[str, DrivingModel],
    tolerances: Tolerances,
    unit: str,
    markdown: Path,
    data: Path,
) -> None:
    """Write the comparison as Markdown for people and as JSON; ``results`` are networks' and baselines' tables."""
    scores = {name: _scores(result, tolerances) for name, result in results.items()}
    ranked = sorted(results, key=lambda name: (-scores[name]["accuracy"], name))
    first = next(iter(results))
    heads = (
        "frames",
        f"within {tolerances.headline:g}",
        f"minus {first}",
        "MAE",
        "RMSE",
        "change",
        "T¹ alone",
        "T² probe",
    )
    lines = table_head("model", *heads)
    for name in ranked:
        result, values = results[name], scores[name]
        gain = "" if name == first else show_interval(*difference(result, results[first], tolerances.headline), "+")
        alone = (
            show_interval(*accuracy(result, stream, tolerances.headline)) if stream in result else "–"
            for stream in ("t1", "t2_probe")
        )
        numbers = (f"{values[key]:.3g}" for key in ("mae", "rmse", "change"))
        frames = str(models[name].frames) if name in models else ""
        near = show_interval(*accuracy(result, "main", tolerances.headline))
        lines.append(table_row(name, frames, near, gain, *numbers, *alone))
    lines += [
        "",
        "Share of frames within λ:",
        "",
        *table_head("model", *(f"{within:g}" for within in tolerances.within)),
    ]
    lines += [
        table_row(name, *(f"{scores[name][f'accuracy_{within:g}']:.3f}" for within in tolerances.within))
        for name in ranked
    ]
    any_result = results[first]
    counts = any_result["road"].value_counts()
    roads = [road for road in ROADS if road in counts]
    lines += ["", "On each kind of road:", "", *table_head("model", "stream", *(f"{r} ({counts[r]})" for r in roads))]
    for name in ranked:
        for stream, heading in STREAMS.items():
            if stream in results[name]:
                prefix = "" if stream == "main" else f"{stream}_"
                lines.append(table_row(name, heading, *(f"{scores[name][f'{prefix}accuracy_{r}']:.3f}" for r in roads)))
    how = HOW.format(
        frames=len(any_result),
        groups=any_result["group"].nunique(),
        draws=DRAWS,
        unit=unit,
        change=angle_scores(any_result.assign(driver=any_result["angle"]), "driver", tolerances)["driver_change"],
        **tolerances.model_dump(include={"headline", "curved"}),
    )
    write_text(markdown, "\n".join([*lines, "", how, ""]))
    write_text(data, json.dumps({"how": how, "scores": scores}, indent=1))


def _scores(result: pd.DataFrame, tolerances: Tolerances) -> dict[str, float]:
    streams = [stream for stream in STREAMS if stream in result]
    return {key: value for stream in streams for key, value in angle_scores(result, stream, tolerances).items()}


def main(scores: Path, metrics: Path, store: Path, out: Path) -> None:
    """Compare the tables in SCORES, with their METRICS, of STORE's test drives, into the folder OUT."""
    params = read_params()
    read = read_results("driving", scores, metrics, params.trained_driving)
    results = {name: result for name, (result, _) in read.items()}
    unit, models = open_drives(store).unit, params.driving_models
    tolerances = params.evaluate_driving.of(unit)
    of_all = results | baselines(results, models)
    write_table(of_all, models, tolerances, unit, out / "table.md", out / "table.json")
    draw_tolerances(of_all, tolerances, unit, out / "tolerances.png")
    draw_streams(results, tolerances.headline, out / "streams.png")
    draw_lengths(results, models, tolerances.headline, out / "lengths.png")
    draw_over_time(results, unit, out / "over_time.png")
    print((out / "table.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
