"""The comparison of methods as Markdown for people and as JSON with all lead times."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from pipelines.common.files import write_text
from pipelines.common.markdown import table_head, table_row
from pipelines.verification.blocks import BLOCK_HOURS, number_blocks
from pipelines.verification.bootstrap import (
    KEY,
    MEAN_CSI,
    Difference,
    Statistic,
    Tables,
    mean_over_cells,
    mean_score,
    paired_difference,
)
from pipelines.verification.scoring import SUMS, mean_of, scores_from, scores_of

HEADS = {
    "mean CSI, pooled [95 %]": "csi_mean",
    "mean CSI, per event": "csi_event",
    "frequency bias": "bias",
    "FSS [95 %]": "fss_8km",
    "RMSE": "rmse",
    "MAE": "mae",
    "ME": "me",
    "RAPSD error": "rapsd_error",
}
HOW = (
    "{forecasts} forecasts of the whole grid, from the same times of the same {events} event(s) for all methods; dry "
    "ones count. An event of a score is a rain rate of at least the threshold: {thresholds} mm/h. Lead times: "
    "{first:g} to {last:g} minutes. One mask for all: pixels seen at the valid time and at the newest observed one, "
    "and where extrapolation and the motion that networks move with both know what comes from upstream. Pooled: "
    "scores of the sums over all forecasts. Per event: the score of each event by itself, then mean [lowest to "
    "highest], which is no confidence interval. Mean CSI: over thresholds and lead times, but those at which no such "
    "rain was observed. Frequency bias: pooled over the lead times, mean [lowest to highest] over the thresholds, 1 "
    "is best. FSS: neighbourhoods of 8 km at {fss:g} mm/h, mean over the lead times. RMSE, MAE, ME (forecast minus "
    "observed): mm/h, over all pixels and lead times. RAPSD error: mean |log10(power of the forecast / power of the "
    "observed)| over wavelengths of 4 to 64 km, as far as the largest square of pixels that count has them; 0 is "
    "best, 0.3 a factor of two. nan is an undefined score."
)
INTERVAL = " Intervals of 95 % are by bootstrap over {blocks} block(s) of at least {hours:g} hours of issue times."
DIFFERENCE = (
    " The difference is that of mean CSI, pooled, to {reference}, the best of pysteps' methods here; it is paired."
)
FEW = " From so few an interval is too narrow, and one gives none."


def differences(
    tables: Tables,
    values: Mapping[str, float],
    rivals: Iterable[str],
    statistic: Statistic = MEAN_CSI,
    best: Callable[..., str] = max,
) -> tuple[str | None, dict[str, Difference]]:
    """Return the best of ``rivals`` by its value, and every other method's difference to it in that statistic."""
    defined = {name: values[name] for name in rivals if name in values and np.isfinite(values[name])}
    if not defined:
        return None, {}
    reference = best(defined, key=lambda name: defined[name])
    return reference, {
        name: paired_difference(sums, tables[reference], statistic)
        for name, sums in tables.items()
        if name != reference
    }


def fss_threshold(thresholds: Iterable[float]) -> float:
    """Return the threshold at which FSS is shown: 2 mm/h, or the one nearest to it, of two the lower."""
    return float(min(sorted(thresholds), key=lambda threshold: abs(np.log(threshold / 2))))


def summary(sums: pd.DataFrame, of_events: pd.DataFrame) -> dict[str, float]:
    """Return the scores of a method, one number each; ``of_events`` are those of its events."""
    csi = mean_score(sums)
    fss = mean_score(
        sums[sums["threshold"] == fss_threshold(sums["threshold"].unique())], mean_over_cells("fss_8km", ["minutes"])
    )
    of_threshold = scores_of(sums, ["threshold"])["bias"]
    of_event = pd.Series([mean_of(of, "csi") for _, of in of_events.groupby("event")])
    everything = scores_from(sums[SUMS].sum().to_frame().T).iloc[0]
    ranges = {
        "csi_mean": (csi.value, csi.low, csi.high),
        "csi_event": (of_event.mean(), of_event.min(), of_event.max()),  # undefined ones left out
        "bias": (of_threshold.mean(), of_threshold.min(), of_threshold.max()),
        "fss_8km": (fss.value, fss.low, fss.high),
    }
    return {
        **{f"{name}{end}": x for name, of in ranges.items() for end, x in zip(("", "_low", "_high"), of, strict=True)},
        **{name: float(everything[name]) for name in ("rmse", "mae", "me", "rapsd_error")},
    }


def write_table(
    tables: Tables,
    scores: Tables,
    markdown: Path,
    data: Path,
    *,
    rivals: Sequence[str],
    networks: Sequence[str] = (),
    costs: Mapping[str, Mapping[str, float]] | None = None,
    notes: Sequence[str] = (),
    sections: Mapping[str, tuple[Sequence[str], Mapping[str, Any]]] = MappingProxyType({}),
) -> None:
    """Write the comparison to ``markdown`` and ``data`` (JSON).

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Sums of the same forecasts, by the method's name.
    scores : mapping of str to DataFrame
        :func:`pipelines.verification.scoring.pooled` of them.
    rivals : sequence of str
        Methods to the best of which there is a column of the difference.
    networks : sequence of str
        Networks of another cell than SCS; with any there is such a column to the best of them too.
    costs : mapping, optional
        For those methods of which it is known: parameters, training_seconds.
    notes : sequence of str
        What else a reader must know, a sentence each.
    sections : mapping of str to tuple, optional
        What stands below, by its key in the JSON: `pipelines.verification.probability_table.Section`.
    """
    costs = costs or {}
    of_events = {name: scores_of(sums, ["event", "threshold", "minutes"]) for name, sums in tables.items()}
    summaries = {name: summary(sums, of_events[name]) for name, sums in tables.items()}
    ranked = sorted(summaries, key=lambda name: -np.nan_to_num(summaries[name]["csi_mean"]))
    csi = {name: mean_of(of, "csi") for name, of in scores.items()}
    reference, to_reference = differences(tables, csi, rivals)
    rival, to_rival = differences(tables, csi, networks)
    any_table = tables[ranked[0]]
    minutes = np.sort(any_table["minutes"].unique())
    thresholds = np.sort(any_table["threshold"].unique())

    to_best = f"to {reference} [95 %]" if reference else "to pysteps"
    heads = [*HEADS]
    heads.insert(2, to_best)
    if rival:
        heads.insert(3, f"to {rival} [95 %]")
    cost_heads = [head for head in ("parameters", "training_seconds") if any(head in cost for cost in costs.values())]
    lines = table_head("method", *heads, *(head.replace("_", " ") for head in cost_heads))
    for name in ranked:
        row = [_cell(summaries[name], key) for key in HEADS.values()]
        row.insert(2, str(to_reference[name]) if name in to_reference else "–")
        if rival:
            row.insert(3, str(to_rival[name]) if name in to_rival else "–")
        cost = costs.get(name, {})
        lines.append(table_row(name, *row, *(f"{cost[head]:,.0f}" if head in cost else "–" for head in cost_heads)))
    for lead in [lead for lead in minutes if lead in (30, 60)] or [minutes[-1]]:
        lines += [
            "",
            f"CSI · POD · FAR · ETS · HSS · bias · FSS 2 km · FSS 8 km · FSS 32 km, pooled, at {lead:g} minutes:",
            "",
        ]
        lines += table_head("method", *(f"at least {threshold:g} mm/h" for threshold in thresholds))
        for name in ranked:
            at = scores[name].xs(lead, level="minutes")
            columns = at[["csi", "pod", "far", "ets", "hss", "bias", "fss_2km", "fss_8km", "fss_32km"]]
            lines.append(table_row(name, *(" · ".join(f"{value:.2f}" for value in row) for row in columns.to_numpy())))

    forecasts = any_table[KEY].drop_duplicates()
    how = HOW.format(
        forecasts=len(forecasts),
        events=forecasts["event"].nunique(),
        thresholds=", ".join(f"{threshold:g}" for threshold in thresholds),
        first=minutes[0],
        last=minutes[-1],
        fss=fss_threshold(thresholds),
    )
    blocks = len(np.unique(number_blocks(forecasts)))
    how += INTERVAL.format(blocks=blocks, hours=BLOCK_HOURS) + FEW * (blocks < 8)
    if reference and to_reference:
        how += DIFFERENCE.format(reference=reference)
    if rival:
        how += f" Beside it the difference to {rival}, the best network of another cell than SCS."
    fell_back = {name: int(sums.drop_duplicates(KEY)["fell_back"].sum()) for name, sums in tables.items()}
    told = [
        f"{name} could not forecast from {n} of them, and extrapolation stood in." for name, n in fell_back.items() if n
    ]
    how = " ".join([how, *told, *notes])
    below = [line for lines_below, _ in sections.values() for line in lines_below]
    write_text(markdown, "\n".join([*lines, "", how, *below, ""]))

    content: dict[str, Any] = {"how": how, "reference": reference, "rival": rival, "blocks": blocks}
    content["methods"] = [
        {"method": name, **summaries[name], "difference": vars(to_reference[name]) if name in to_reference else None}
        | ({"difference_to_rival": vars(to_rival[name]) if name in to_rival else None} if rival else {})
        | {"fell_back": fell_back[name]}
        | dict(costs.get(name, {}))
        for name in ranked
    ]
    content["scores"] = []
    for name in ranked:
        for of_method, pooling in ((scores[name], "all events"), (of_events[name], "one event")):
            rows = of_method.reset_index().rename(columns={"minutes": "lead_minutes"})
            content["scores"] += rows.assign(method=name, pooling=pooling).to_dict("records")
    content |= {name: of_section for name, (_, of_section) in sections.items()}
    write_text(data, json.dumps(without_nan(content), indent=1))


def _cell(scores: Mapping[str, float], key: str) -> str:
    text = f"{scores[key]:.3f}" if key != "bias" else f"{scores[key]:.2f}"
    if np.isfinite(scores.get(f"{key}_low", np.nan)):
        digits = ".2f" if key == "bias" else ".3f"
        text += f" [{scores[f'{key}_low']:{digits}} to {scores[f'{key}_high']:{digits}}]"
    return text


def without_nan(content: Any) -> Any:
    """Return content for JSON, which has no NaN: null says undefined. NumPy's numbers become Python's."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_nan(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not np.isfinite(content) else content
