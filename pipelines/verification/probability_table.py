"""The comparison of methods by their probabilities: what stands under the table of fields, and in its JSON."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipelines.common.markdown import table_head, table_row
from pipelines.verification.bootstrap import KEY, Interval, Tables, intervals, mean_score
from pipelines.verification.probabilities import (
    BRIER_SKILL,
    CRPS,
    CRPS_FAIR,
    crps,
    few_rates,
    probability_scores,
    reliability,
    with_reference,
)
from pipelines.verification.table import differences

HOW = (
    "Probabilities of a rain rate of at least {rates} mm/h, of {forecasts} forecasts on the mask of above. CRPS: the "
    "Brier scores of the sums over all forecasts, integrated over these rates by trapezoids, mean over the lead times, "
    "mm/h; less is better. That of a method which says 0 and 1 alone is about its mean absolute error between the "
    "lowest and the highest of these rates. Fair: as if an ensemble had endless members (Ferro 2014). {skill} ROC "
    "area: over bins of probability, the lowest up to 0.001; where little is said above it, it is more than that. "
    "Sharpness: mean p (1 - p), 0 for 0 and 1 alone. Intervals of 95 % are by the same bootstrap over {blocks} "
    "block(s)."
)
SKILL = "Brier skill: 1 - Brier score / that of {climatology} of the same forecasts."
NO_SKILL = "There are no forecasts of {climatology} that Brier skill could be against."
DIFFERENCE = " The difference is that of CRPS to {reference}, the best of those that need no training; it is paired."
SKILLS = ["brier_skill", "brier_skill_fair"]


class Section(NamedTuple):
    """A part of a comparison: lines of Markdown, and content for JSON, with NaN where undefined."""

    lines: list[str]
    content: dict[str, Any]


def probability_section(
    tables: Tables, *, climatology: str, rivals: Iterable[str], networks: Iterable[str] = ()
) -> Section:
    """Return the comparison of methods by the sums of their probabilities.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of :func:`pipelines.verification.probabilities.score_probabilities`, of the same forecasts, by the method's
        name, with columns event and time.
    climatology : str
        The method that Brier skill is against; without it there is none.
    rivals, networks
        See :func:`pipelines.verification.table.write_table`.
    """
    scores = {name: _scores(of, tables.get(climatology)) for name, of in tables.items()}
    means = {name: mean_score(of, CRPS) for name, of in tables.items()}
    fair = {name: mean_score(of, CRPS_FAIR) for name, of in tables.items() if of["members"].notna().any()}
    values = {name: of.value for name, of in means.items()}
    reference, to_reference = differences(tables, values, rivals, CRPS, min)
    rival, to_rival = differences(tables, values, networks, CRPS, min)
    ranked = sorted(values, key=lambda name: np.nan_to_num(values[name], nan=np.inf))

    any_table = tables[ranked[0]]
    minutes, rates = np.sort(any_table["minutes"].unique()), np.sort(any_table["threshold"].unique())
    columns: dict[str, dict[str, Any]] = {"CRPS [95 %]": means}
    columns |= {f"to {of} [95 %]": to for of, to in ((reference, to_reference), (rival, to_rival)) if of}
    columns |= {"CRPS fair [95 %]": fair, "members": {name: int(tables[name]["members"].max()) for name in fair}}
    lines = ["", "## Probabilities", "", *table_head("method", *columns)]
    for name in ranked:
        cells = (of.get(name, "–") for of in columns.values())
        lines.append(table_row(name, *(f"{cell:.4f}" if isinstance(cell, Interval) else str(cell) for cell in cells)))
    for lead in [lead for lead in minutes if lead in (30, 60)] or [minutes[-1]]:
        heads = "Brier skill [95 %] · fair · ROC area · sharpness"
        lines += ["", f"{heads}, pooled, at {lead:g} minutes:", ""]
        lines += table_head("method", *(f"at least {rate:g} mm/h" for rate in few_rates(rates)))
        for name in ranked:
            of_rates = (scores[name].loc[(rate, lead)] for rate in few_rates(rates))
            lines.append(table_row(name, *(_cell(at, name in fair) for at in of_rates)))

    blocks = means[ranked[0]].blocks
    how = HOW.format(
        rates=", ".join(f"{rate:g}" for rate in rates),
        forecasts=len(any_table[KEY].drop_duplicates()),
        skill=(SKILL if climatology in tables else NO_SKILL).format(climatology=climatology),
        blocks=blocks,
    )
    if reference:
        how += DIFFERENCE.format(reference=reference)
    if rival:
        how += f" Beside it that to {rival}, the best network of another cell than SCS."
    content: dict[str, Any] = {"how": how, "reference": reference, "rival": rival, "blocks": blocks}
    of_methods: dict[str, Mapping[str, Interval]] = {
        "crps": means,
        "crps_fair": fair,
        "difference": to_reference,
        "difference_to_rival": to_rival,
    }
    content["methods"] = [
        {"method": name, "members": columns["members"].get(name)}
        | {key: vars(of[name]) if name in of else None for key, of in of_methods.items()}
        for name in ranked
    ]
    content["crps"] = _records({name: _of_lead(scores[name]) for name in ranked})
    content["scores"] = _records({name: scores[name] for name in ranked})
    content["reliability"] = _records({name: reliability(tables[name]) for name in ranked})
    return Section([*lines, "", how], content)


def _scores(sums: pd.DataFrame, reference: pd.DataFrame | None) -> pd.DataFrame:
    """Scores of each rate and lead time, with intervals of skill."""
    scores = probability_scores(sums, reference)
    (_, low, high), _ = intervals(with_reference(sums, reference), BRIER_SKILL)
    for end, of in (("low", low), ("high", high)):
        scores[[f"{skill}_{end}" for skill in SKILLS]] = of
    return scores


def _of_lead(scores: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"crps": crps(scores), "crps_fair": crps(scores, "brier_fair")})


def _cell(at: pd.Series, ensemble: bool) -> str:
    skill = f"{at['brier_skill']:.2f}"
    if np.isfinite(at["brier_skill_low"]):
        skill += f" [{at['brier_skill_low']:.2f} to {at['brier_skill_high']:.2f}]"
    fair = f"{at['brier_skill_fair']:.2f}" if ensemble else "–"
    return f"{skill} · {fair} · {at['roc_area']:.2f} · {at['sharpness']:.3f}"


def _records(tables: Tables) -> list[dict[str, Any]]:
    records = []
    for name, table in tables.items():
        rows = table.reset_index().rename(columns={"minutes": "lead_minutes"})
        records += rows.assign(method=name).to_dict("records")
    return records
