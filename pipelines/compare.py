"""Stage ``compare``: every method's scores in one table and two pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipelines.atomic import whole
from pipelines.cadence import usual_step
from pipelines.errors import UserError
from pipelines.evaluate import forecast_times
from pipelines.forecasters import BASELINES, load_forecaster
from pipelines.frames import grid_of, open_frames
from pipelines.maps import draw_maps, few_leads
from pipelines.params import Params, read_params
from pipelines.stage import run
from pipelines.verification import mean_csi, pooled

HOW = (
    "{forecasts} forecasts of the whole grid, from the same times of the same {events} test event(s) for all methods. "
    "An event of a score is a rain rate of at least the threshold. One mask for all: pixels seen at the valid time "
    "and at the newest observed one, and where extrapolation knows what comes from upstream. Pooled: scores of the "
    "counts summed over all test events. Per event: the score of each event by itself, then mean [lowest to highest], "
    "which is no confidence interval. Mean CSI: over the thresholds {thresholds} mm/h and the "
    "lead times {first:g} to {last:g} minutes, but those at which no such rain was observed; MAE: over the lead times. "
    "Bias is frequency bias, 1 is best; nan is an undefined score."
)


def read_scores(scores: Path, params: Params) -> dict[str, pd.DataFrame]:
    """Read the counts of every baseline and model, by name.

    Raises
    ------
    UserError
        If there are none of a model.
    """
    tables = {}
    for name in [*BASELINES, *params.models]:
        try:
            tables[name] = pd.read_parquet(scores / f"{name}.parquet")
        except FileNotFoundError:
            raise UserError(f"params.yaml: models.{name}: has no scores; does dvc.yaml list it under vars?") from None
    return tables


def write_table(tables: Mapping[str, pd.DataFrame], step_s: int, markdown: Path, data: Path) -> None:
    """Write the comparison as Markdown for people and as JSON with all lead times."""
    any_table = next(iter(tables.values()))
    minutes = {lead: lead * step_s / 60 for lead in any_table["lead"].unique()}
    thresholds = any_table["threshold"].unique()
    ranked = sorted(tables, key=lambda name: -np.nan_to_num(mean_csi(tables[name])))

    lines = ["| method | mean CSI, pooled | mean CSI, per event | MAE, mm/h |", "|---|---|---|---|"]
    for name in ranked:
        of_event = pd.Series([mean_csi(counts) for _, counts in tables[name].groupby("event")])
        low, mean, high = of_event.min(), of_event.mean(), of_event.max()  # undefined ones left out
        mae = pooled(tables[name][tables[name]["threshold"] == thresholds[0]], ["lead"])["mae"].mean()
        lines.append(f"| {name} | {mean_csi(tables[name]):.3f} | {mean:.3f} [{low:.3f} to {high:.3f}] | {mae:.3f} |")
    for lead in [lead for lead, after in minutes.items() if after in (30, 60)] or [max(minutes)]:
        heads = " | ".join(f"at least {threshold:g} mm/h" for threshold in thresholds)
        lines += ["", f"CSI · POD · FAR · bias, pooled, at {minutes[lead]:g} minutes:", ""]
        lines += [f"| method | {heads} |", "|---" * (thresholds.size + 1) + "|"]
        for name in ranked:
            at = pooled(tables[name], ["threshold", "lead"]).xs(lead, level="lead")
            cells = (f"{row.csi:.2f} · {row.pod:.2f} · {row.far:.2f} · {row.bias:.2f}" for row in at.itertuples())
            lines.append(f"| {name} | {' | '.join(cells)} |")

    times = any_table.groupby("event")["t0"].nunique()
    how = HOW.format(
        forecasts=times.sum(),
        events=times.size,
        thresholds=", ".join(f"{threshold:g}" for threshold in thresholds),
        first=min(minutes.values()),
        last=max(minutes.values()),
    )
    with whole(markdown) as temporary:
        temporary.write_text("\n".join([*lines, "", how, ""]), encoding="utf-8")

    scores = []
    for name, table in tables.items():
        for by, pooling in ((["threshold", "lead"], "all events"), (["event", "threshold", "lead"], "one event")):
            scores.append(pooled(table, by).reset_index().assign(method=name, pooling=pooling))
    everything = pd.concat(scores, ignore_index=True)
    everything["lead_minutes"] = everything.pop("lead") * step_s / 60
    with whole(data) as temporary:
        content = {"how": how, "scores": json.loads(everything.to_json(orient="records"))}
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def draw_csi(tables: Mapping[str, pd.DataFrame], step_s: int, path: Path) -> None:
    """Draw pooled CSI against lead time, one panel a threshold."""
    thresholds = next(iter(tables.values()))["threshold"].unique()
    figure = Figure(figsize=(3.2 * len(thresholds), 3.4), dpi=100, layout="constrained")
    axes = figure.subplots(1, len(thresholds), sharey=True, squeeze=False)[0]
    for name, table in tables.items():
        csi = pooled(table, ["threshold", "lead"])["csi"]
        style = "--" if name in BASELINES else "-"
        for ax, threshold in zip(axes, thresholds, strict=True):
            of_lead = csi.loc[threshold]
            ax.plot(of_lead.index * step_s / 60, of_lead, style, label=name, marker=".")
            ax.set_title(f"at least {threshold:g} mm/h", fontsize=9)
            ax.set_xlabel("lead time, minutes")
    axes[0].set_ylabel("CSI, pooled over the test events")
    axes[0].set_ylim(0, 1)
    axes[0].legend(fontsize=8)
    with whole(path) as temporary:
        figure.savefig(temporary)


def draw_example(models: Sequence[Path], store: Path, windows: Path, path: Path, params: Params) -> None:
    """Draw maps of the wettest test time: what was observed, and what each method forecast."""
    dataset = open_frames(store)
    rain, index = dataset["rainfall_flux"], params.index
    times = forecast_times(windows, params.evaluate.time_stride)
    wet = [
        float((rain[t0 + index.inputs : t0 + index.inputs + index.leads : 3] >= index.wet_rate).mean())
        for t0 in times["t0"]
    ]
    t0 = int(times["t0"][int(np.argmax(wet))])
    frames = rain[t0 : t0 + index.inputs + index.leads].to_numpy()
    seen, future = frames[: index.inputs], frames[index.inputs :]
    shown = few_leads(index.leads)
    rows = {"observed": [seen[-1], *future[shown]]}
    methods = {name: BASELINES[name] for name in BASELINES} | {m.name: load_forecaster(m) for m in models}
    for name, forecaster in methods.items():
        rows[name] = [seen[-1], *forecaster(seen, index.leads)[shown]]
    start = dataset["time"].to_numpy()[t0 + index.inputs - 1]
    step_s = usual_step(dataset["time"].to_numpy())
    columns = ["newest observed", *(f"+{(lead + 1) * step_s / 60:g} min" for lead in shown)]
    title = f"Rain rate from {np.datetime_as_string(start, 'm')} UTC, the wettest test forecast"
    with whole(path) as temporary:
        draw_maps(rows, columns, grid_of(dataset), title, temporary)


def main(store: Path, windows: Path, scores: Path, models: Path, out: Path) -> None:
    """Compare all tables in the folder SCORES, and the MODELS that they are of, into the folder OUT."""
    params = read_params()
    step_s = usual_step(open_frames(store)["time"].to_numpy())
    tables = read_scores(scores, params)
    write_table(tables, step_s, out / "table.md", out / "table.json")
    draw_csi(tables, step_s, out / "csi.png")
    draw_example([models / name for name in params.models], store, windows, out / "maps.png", params)
    print((out / "table.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
