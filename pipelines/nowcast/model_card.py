"""The model card of a version: what MLflow shows of it to someone who decides whether to use it."""

from collections.abc import Mapping

import pandas as pd

from pipelines.common.markdown import literal
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.promotion import METRIC, MIN_BLOCKS
from pipelines.verification.bootstrap import common_forecasts, mean_score, paired_difference

SHOWN_EVENTS = 12


def model_card(
    description: ModelDescription,
    sums: pd.DataFrame,
    extrapolation: pd.DataFrame,
    scores: Mapping[str, float],
    *,
    windows: str,
    latency: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
) -> str:
    """Return the card, Markdown.

    Parameters
    ----------
    sums, extrapolation : DataFrame
        Of :func:`pipelines.nowcast.evaluate.evaluate`, the model's and the baseline's.
    scores : mapping
        The model's, of :func:`pipelines.verification.scoring.headline`.
    windows : str
        SHA-256 of the windows that it was scored on.
    latency : str
        What a forecast takes, in words.
    tags, metrics : mapping
        Of the version, and of its run.
    """
    is_network = description.network is not None
    kept, _ = common_forecasts({"model": sums, "extrapolation": extrapolation})
    to_extrapolation = paired_difference(kept["model"], kept["extrapolation"])
    of_model = mean_score(sums)
    events = [str(event) for event in sums["event"].unique()]
    more = f" and {len(events) - SHOWN_EVENTS} more" if len(events) > SHOWN_EVENTS else ""
    forecasts = len(sums[["event", "time"]].drop_duplicates())
    lines = [f"# {literal(description.title)}", "", "## Data", ""]
    if is_network:
        trained = tags.get("dvc_md5.windows", "unknown: this store doesn't have the run that made the model")
        lines += [f"- trained on the train split of windows (DVC's MD5) {trained}"]
    lines += [
        f"- scored on the test split of windows (SHA-256) {windows}",
        f"- {forecasts} forecasts of {len(events)} event(s): {literal(', '.join(events[:SHOWN_EVENTS]))}{more}",
        *("", "## Scores", ""),
        f"- {METRIC} [95 %]: {of_model}; {of_model.blocks} block(s)",
    ]
    if is_network:
        lines += [f"- {METRIC} minus extrapolation's [95 %]: {to_extrapolation}"]
    lines += [f"- {name} {value:.4f}" for name, value in scores.items() if name != "csi_mean"]
    lines += ["", "## Cost", "", f"- a forecast: {latency}"]
    if is_network:
        parameters, seconds = metrics.get("parameters"), metrics.get("training_seconds")
        lines += [f"- parameters: {'unknown' if parameters is None else f'{parameters:,.0f}'}"]
        lines += [f"- training: {'unknown' if seconds is None else f'{seconds:,.0f} s'}"]
    lines += ["", "## Limits", "", f"- looks at {description.inputs} frames"]
    if description.step_seconds is not None:
        lines[-1] += f", {description.step_seconds} s apart, and refuses other steps"
    longest, thresholds = sums["minutes"].max(), ", ".join(f"{one:g}" for one in sorted(sums["threshold"].unique()))
    lines += [f"- beyond {longest:g} minutes, and at other rain rates than {thresholds} mm/h, nobody has scored it"]
    lines += ["- other radars, climates and seasons than the events': score it on your own first"]
    if to_extrapolation.blocks < MIN_BLOCKS:
        lines += [f"- {to_extrapolation.blocks} block(s) of weather are too few to tell skill from chance"]
    return "\n".join([*lines, ""])
