"""The comparison of ensembles by their members: what stands under the table of probabilities, and in its JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from pipelines.common.markdown import table_head, table_row
from pipelines.verification.amounts import AREA_KM, PERIOD_MIN
from pipelines.verification.bootstrap import KEY, Interval, Tables, mean_score
from pipelines.verification.ensembles import ensemble_scores, rank_histogram
from pipelines.verification.probabilities import CRPS, CRPS_FAIR, reliability
from pipelines.verification.probability_table import Section
from pipelines.verification.scoring import SCALES_KM
from pipelines.verification.spatial import WAVELENGTHS_KM
from pipelines.verification.table import differences, fss_threshold

HOW = (
    "Members, of the {forecasts} forecasts for which every method here has some: those of an ensemble itself, and of "
    "other methods fields drawn from their probabilities. Spread/error: root of the mean variance, by sqrt((m + 1)/m) "
    "larger than of m members, over the error of their mean; 1 is best. Outliers: how many times as often as it should "
    "what came lies beyond all members, ties at random, pixels where all are dry left out. RAPSD: power of members "
    "over that of what came, at wavelengths of {wavelengths} km; 1 is best. FSS of probabilities: {scales} km at "
    "{threshold:g} mm/h. CRPS of amounts over the first {period} minutes, mm, at pixels and over squares of {area:g} "
    "km, integrated over amounts of {rates} mm; fair and differences as above."
)


def member_section(tables: Tables, *, rivals: Iterable[str]) -> Section:
    """Return the comparison of methods by the sums of their members, best amounts first.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of the same forecasts, by the method's name: sums of `pipelines.verification.ensembles.EnsembleSums` with
        "rates" in the column ``of``, and of `pipelines.verification.amounts.AmountSums`, with columns event and time.
    rivals : iterable of str
        Methods to the best of which there is a difference.
    """
    rates = {name: sums[sums["of"] == "rates"] for name, sums in tables.items()}
    scores = {name: ensemble_scores(sums) for name, sums in rates.items()}
    any_scores = next(iter(scores.values()))
    threshold, minutes = fss_threshold(any_scores.index.unique("threshold")), any_scores.index.unique("minutes")
    leads = [lead for lead in minutes if lead in (10, 30, 60)] or [minutes[-1]]
    lines = ["", "## Members", ""]
    lines += table_head("method", "members", *(f"spread/error · outliers, {lead:g} min" for lead in leads))
    for name, of in scores.items():
        at = (of.loc[(threshold, lead)] for lead in leads)
        cells = (f"{of_lead['spread_error']:.2f} · {of_lead['outliers']:.2f}" for of_lead in at)
        lines.append(table_row(name, str(int(rates[name]["members"].max())), *cells))
    waves, scales = [f"rapsd_ratio_{at}km" for at in WAVELENGTHS_KM], [f"fss_{at}km" for at in SCALES_KM]
    lines += ["", *table_head("method", *(f"RAPSD, FSS, {lead:g} min" for lead in leads))]
    for name, of in scores.items():
        at = (of.loc[(threshold, lead)] for lead in leads)
        cells = (f"{_row(of_lead[waves])}, {_row(of_lead[scales])}" for of_lead in at)
        lines.append(table_row(name, *cells))

    ranks = {name: rank_histogram(of) for name, of in rates.items()}
    content: dict[str, Any] = {"scores": _records(scores), "ranks": _records(ranks)}
    for kind, words in (("amounts", "amounts"), ("areas", f"amounts over {AREA_KM:g} km")):
        sums = {name: of[of["of"] == kind] for name, of in tables.items()}
        means, fair = ({name: mean_score(of, crps) for name, of in sums.items()} for crps in (CRPS, CRPS_FAIR))
        reference, to_best = differences(sums, {name: of.value for name, of in means.items()}, rivals, CRPS, min)
        columns: dict[str, dict[str, Interval]] = {f"CRPS of {words} [95 %]": means, "fair [95 %]": fair}
        columns |= {f"to {reference} [95 %]": dict(to_best)} if reference else {}
        lines += ["", *table_head("method", *columns)]
        for name in sorted(means, key=lambda name: means[name].value):
            cells = (f"{of[name]:.4f}" if name in of else "–" for of in columns.values())
            lines.append(table_row(name, *cells))
        of_methods: dict[str, Mapping[str, Interval]] = {"crps": means, "crps_fair": fair, "difference": to_best}
        content[kind] = {
            "reference": reference,
            "methods": [
                {"method": name} | {key: vars(of[name]) if name in of else None for key, of in of_methods.items()}
                for name in means
            ],
            "reliability": _records({name: reliability(of) for name, of in sums.items()}),
        }
    any_table = next(iter(tables.values()))
    content["how"] = HOW.format(
        forecasts=len(any_table[KEY].drop_duplicates()),
        wavelengths=", ".join(map(str, WAVELENGTHS_KM)),
        scales=", ".join(map(str, SCALES_KM)),
        threshold=threshold,
        period=PERIOD_MIN,
        area=AREA_KM,
        rates=", ".join(f"{rate:g}" for rate in any_table.loc[any_table["of"] == "areas", "threshold"].unique()),
    )
    return Section([*lines, "", content["how"]], content)


def _row(values: pd.Series) -> str:
    return " · ".join(f"{value:.2f}" for value in values)


def _records(tables: Tables) -> list[dict[str, Any]]:
    records = []
    for name, table in tables.items():
        rows = table.rename(columns=str).reset_index().rename(columns={"minutes": "lead_minutes"})
        records += rows.assign(method=name).to_dict("records")
    return records
