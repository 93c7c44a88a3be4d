"""The model card of a version: what MLflow shows of it to someone who decides whether to use it."""

from collections.abc import Mapping

import numpy as np

from pipelines.common.markdown import literal
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.promotion import CRPS, MEAN_CSI, MIN_BLOCKS
from pipelines.verification.blocks import number_blocks
from pipelines.verification.bootstrap import KEY, Tables, common_forecasts, mean_score, paired_difference

SHOWN_EVENTS = 12
FALLBACK_WORDS = {
    "extrapolation": "Extrapolation by pysteps, the newest frame moved with the echo",
    "persistence": "Persistence, the newest frame as it is",
}


def model_card(
    name: str,
    description: ModelDescription,
    tables: Tables,
    probabilities: Tables,
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
    name : str
        Of the model in the tables.
    tables, probabilities : mapping of str to DataFrame
        Of :func:`pipelines.nowcast.evaluate.evaluate`, sums by the method's name: the model's and extrapolation's are
        looked at, and of probabilities there may be none.
    scores : mapping
        The model's, of the two functions ``headline`` of its sums.
    windows : str
        SHA-256 of the windows that it was scored on.
    latency : str
        What a forecast takes, in words.
    tags, metrics : mapping
        Of the version, and of its run.
    """
    is_network = description.network is not None
    of_metrics = []
    for metric, sums in ((MEAN_CSI, tables), (CRPS, probabilities)):
        if not {name, "extrapolation"} <= sums.keys():
            continue
        of_model = mean_score(sums[name], metric.statistic)
        of_metrics += [f"- {metric.name} [95 %]: {of_model:{metric.digits}}; {of_model.blocks} block(s)"]
        if is_network:
            kept, _ = common_forecasts({key: sums[key] for key in (name, "extrapolation")})
            difference = paired_difference(kept[name], kept["extrapolation"], metric.statistic)
            less = ", less is better" if metric.less_is_better else ""
            of_metrics += [f"- {metric.name} minus extrapolation's [95 %]{less}: {difference:{metric.digits}}"]
    of_fields = tables[name]
    events = [str(event) for event in of_fields["event"].unique()]
    more = f" and {len(events) - SHOWN_EVENTS} more" if len(events) > SHOWN_EVENTS else ""
    forecasts = of_fields[KEY].drop_duplicates()
    lines = [what_it_is(description), "", "## Data", ""]
    if is_network:
        trained = tags.get("dvc_md5.windows", "unknown: this store doesn't have the run that made the model")
        lines += [f"- trained on the train split of windows (DVC's MD5) {trained}"]
        if description.rates is not None:
            lines += ["- probabilities calibrated on windows of their validation split"]
        lines += rights_lines(description)
    lines += [
        f"- scored on the test split of windows (SHA-256) {windows}",
        f"- {len(forecasts)} forecasts of {len(events)} event(s): {literal(', '.join(events[:SHOWN_EVENTS]))}{more}",
        *("", "## Scores", ""),
        *of_metrics,
    ]
    lines += [f"- {score} {value:.4f}" for score, value in scores.items() if score not in ("csi_mean", "crps")]
    lines += ["", "## Cost", "", f"- a forecast: {latency}"]
    if is_network:
        parameters, seconds = metrics.get("parameters"), metrics.get("training_seconds")
        lines += [f"- parameters: {'unknown' if parameters is None else f'{parameters:,.0f}'}"]
        lines += [f"- training: {'unknown' if seconds is None else f'{seconds:,.0f} s'}"]
    lines += ["", "## Limits", "", f"- looks at {description.inputs} frames"]
    if description.step_seconds is not None:
        lines[-1] += f", {description.step_seconds} s apart, and refuses other steps"
    if description.rates is not None:
        rates = ", ".join(f"{rate:g}" for rate in description.rates)
        lines += [f"- gives probabilities of a rain rate of at least {rates} mm/h, and of no other"]
        lines += [f"- the rain field that it gives with them: {description.field}"]
    scored = sorted({rate for sums in (tables, probabilities) if name in sums for rate in sums[name]["threshold"]})
    longest, rates = of_fields["minutes"].max(), ", ".join(f"{rate:g}" for rate in scored)
    lines += [f"- beyond {longest:g} minutes, and at other rain rates than {rates} mm/h, nobody has scored it"]
    lines += ["- other radars, climates and seasons than the events': score it on your own first"]
    blocks = len(np.unique(number_blocks(forecasts)))
    if blocks < MIN_BLOCKS:
        lines += [f"- {blocks} block(s) of weather are too few to tell skill from chance"]
    return "\n".join([*lines, ""])


def what_it_is(description: ModelDescription) -> str:
    """Return in a sentence what a model is and does, as text: MLflow's table of versions shows how it begins."""
    network = description.network
    if network is None:
        return f"{FALLBACK_WORDS[description.method]}: rain rate at any lead time; nothing of it is trained."
    given = "rain rate" if description.rates is None else f"probabilities of {len(description.rates)} rain rates"
    step_s = description.step_seconds
    times = f"{network.leads} steps" if step_s is None else f"{(network.leads or 0) * step_s / 60:g} minutes"
    name = literal(description.title)
    return f"Network of {network.cell} cells, {name}: {given} for {times} from {description.inputs} frames."


def rights_lines(description: ModelDescription) -> list[str]:
    """Return a line for each archive that the model was trained on: its licence, whom to name, what is forbidden."""
    if description.archives is None:
        return ["- licence of what it was trained on: unknown: it was trained before that was kept"]
    lines = []
    for archive in description.archives:
        words = [archive.license, *([archive.attribution] if archive.attribution else []), *archive.rights.restrictions]
        lines.append(f"- trained on {literal(archive.name)}: {literal('; '.join(words))}")
    return lines
