"""One page that compares the trainings which MLflow has kept: tables, curves and maps, all within the file."""

import base64
import html
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path
from pipelines.tracking.history import CURVES, PastRun, aliases, past_runs, read_comparison
from pipelines.tracking.store import NAME

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; color: #222 }
.wide { overflow-x: auto } img { max-width: 100% }
table { border-collapse: collapse; font-size: 13px } th, td { padding: 4px 9px; text-align: right; white-space: nowrap }
th { background: #f2f4f7; position: sticky; top: 0 } tr { border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } .best { font-weight: 700; background: #e8f5e9 }
pre { background: #f7f7f7; padding: 1rem; white-space: pre-wrap; font-size: 12px } small { color: #666 }
"""
# Params that say what a training was, of rain or of actions; others are shown where runs differ in them.
SEEDS = ("train.seed", "train_action.seed")
ALWAYS = ("model.cell", *SEEDS, "train.steps", "train_action.steps")
FIRST = ("validation_loss", "csi_mean")  # of the metrics; then in alphabetical order
LEFT_OUT = {"epoch", "switch_p", "train_loss"}  # where the last step left them
LOWER_IS_BETTER = ("loss", "mae", "seconds", "parameters", "far")


def write_report(path: Path, experiment: str = NAME) -> int:
    """Write the page; give the number of trainings on it.

    Parameters
    ----------
    path : Path
        The HTML file.
    experiment : str
        Of MLflow.

    Raises
    ------
    UserError
        If MLflow has no finished training of it.
    """
    runs = past_runs(experiment)
    if not runs:
        raise UserError(f"MLflow: no finished training in the experiment {experiment}; run `dvc repro` first")
    pointed = aliases(experiment)
    now = datetime.now(UTC)
    body = [
        f"<h1>{html.escape(experiment)}</h1>",
        f"<p>{len(runs)} trainings, as MLflow had them on {now:%Y-%m-%d %H:%M} UTC, the newest first.</p>",
        "<p>"
        + " · ".join(f"<b>{html.escape(alias)}</b>: version {version}" for alias, (version, _) in pointed.items())
        + "</p>",
        "<h2>Trainings</h2>",
        _table(runs, {run_id: alias for alias, (_, run_id) in pointed.items()}),
        "<h2>Curves</h2>",
        *(_picture(_curves(runs, key), f"{key} by step") for key in CURVES if any(key in run.curves for run in runs)),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        files = read_comparison(Path(scratch), experiment)
        if files:
            body.append("<h2>All methods on the test split</h2>")
        for file in files:
            if file.suffix == ".md":
                body.append(f"<pre>{html.escape(file.read_text(encoding='utf-8'))}</pre>")
            elif file.suffix == ".png":
                body.append(_picture(file.read_bytes(), file.stem))
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(experiment)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return len(runs)


def _table(runs: Sequence[PastRun], alias_of: dict[str, str]) -> str:
    """Lay out names, the params in which runs differ, and every metric, the best of each marked."""
    keys = sorted({key for run in runs for key in run.params})
    differ = [key for key in keys if len({run.params.get(key) for run in runs}) > 1 and key not in ALWAYS]
    shown = [*(key for key in ALWAYS if key in keys), *differ]
    logged = {key for run in runs for key in run.metrics} - LEFT_OUT
    metrics = [*(key for key in FIRST if key in logged), *sorted(logged - {*FIRST})]
    best = {key: max((run.metrics[key] for run in runs if key in run.metrics), key=_goodness(key)) for key in metrics}
    heads = ["model", "experiment", "switch", *shown, *metrics, "alias", "started, UTC"]
    rows = []
    for run in runs:
        cells = [run.name, run.experiment, run.tags.get("switch", ""), *(run.params.get(key, "") for key in shown)]
        row = [f"<td>{html.escape(cell)}</td>" for cell in cells]
        for key in metrics:
            value = run.metrics.get(key)
            marked = ' class="best"' if value is not None and value == best[key] and len(runs) > 1 else ""
            row.append(f"<td{marked}>{'' if value is None else f'{value:,.4g}'}</td>")
        row.append(f"<td>{html.escape(alias_of.get(run.run_id, ''))}</td><td>{run.started:%Y-%m-%d %H:%M}</td>")
        rows.append(f"<tr>{''.join(row)}</tr>")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _goodness(key: str) -> Callable[[float], float]:
    """Return what is higher the better a metric is; of a frequency bias 1 is best."""
    if "bias" in key:
        return lambda value: -abs(value - 1)
    return (lambda value: -value) if any(word in key for word in LOWER_IS_BETTER) else (lambda value: value)


def _curves(runs: Sequence[PastRun], key: str) -> bytes:
    figure = Figure(figsize=(11, 4.2), dpi=100, layout="constrained")
    ax = figure.subplots()
    for run in runs:
        if points := sorted(run.curves.get(key, [])):
            seed = next((run.params[key] for key in SEEDS if key in run.params), "?")
            label = f"{run.name} {run.experiment}".strip() + f" (seed {seed})"
            ax.plot(*zip(*points, strict=True), label=label, linewidth=1.2, marker="." if len(points) < 30 else "")
    ax.set_xlabel("step")
    ax.set_ylabel(key)
    ax.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _picture(png: bytes, title: str) -> str:
    coded = base64.b64encode(png).decode()
    return f'<h3>{html.escape(title)}</h3><img alt="{html.escape(title)}" src="data:image/png;base64,{coded}">'
