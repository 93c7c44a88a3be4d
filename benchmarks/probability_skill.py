"""What probabilities are worth on radar networks that no training saw: several evaluations in one table.

    python benchmarks/probability_skill.py OUT FOLDER [FOLDER ...] [--model scs] [--other convlstm --other convgru]

Each FOLDER is the ``data/probabilities`` of an experiment that left another radar network out (docs/results.md): its
tables add up, so that every score is of all forecasts together, and every interval by blocks of all their weather. OUT
gets the table, its JSON and the pictures. A reliability bin counts where it holds 1 % of a rate's forecasts.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from claims import claim, status
from ratios import ratio

from pipelines.common.files import write_text
from pipelines.nowcast.scores import CLIMATOLOGY
from pipelines.params.nowcast import BASELINES
from pipelines.verification.bootstrap import common_forecasts, intervals
from pipelines.verification.figures import draw_brier_skill, draw_crps, draw_reliability
from pipelines.verification.probabilities import (
    BRIER_SKILL,
    CRPS,
    probability_scores,
    reliability,
    with_reference,
)
from pipelines.verification.probability_table import probability_section
from pipelines.verification.table import without_nan


def read(folders: list[Path]) -> dict[str, pd.DataFrame]:
    """Return each method's sums of all folders that have it."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for number, folder in enumerate(folders):
        for file in sorted(folder.glob("*.parquet")):
            sums = pd.read_parquet(file)
            if sums.empty:  # a method without members
                continue
            parts.setdefault(file.stem, []).append(sums.assign(event=f"{number}-" + sums["event"].astype(str)))
    return {name: pd.concat(tables) for name, tables in parts.items() if len(tables) == len(folders)}


def misses(sums: pd.DataFrame) -> int:
    """Return in how many bins of a rate's forecasts, 1 % of them or more, what came misses what was said by 0.05."""
    table = reliability(sums)
    often = table["count"] >= 0.01 * table.groupby("threshold")["count"].transform("sum")
    return int((often & ((table["low"] > table["said"] + 0.05) | (table["high"] < table["said"] - 0.05))).sum())


def below_climatology(sums: pd.DataFrame, climate: pd.DataFrame) -> int:
    """Return at how many rates and lead times the interval of Brier skill lies wholly below 0."""
    (_, _, high), _ = intervals(with_reference(sums, climate), BRIER_SKILL)
    return int((high[..., 0] < 0).sum())


def report(tables: Mapping[str, pd.DataFrame], out: Path) -> None:
    """Write table.md, table.json and the pictures."""
    networks = [name for name in tables if name not in BASELINES and not name.startswith(("scs", "astsgd"))]
    section = probability_section(tables, climatology=CLIMATOLOGY, rivals=BASELINES, networks=networks)
    write_text(out / "table.md", "\n".join([*section.lines, ""]))
    write_text(out / "table.json", json.dumps(without_nan(section.content), indent=1))
    scores = {name: probability_scores(sums, tables[CLIMATOLOGY]) for name, sums in tables.items()}
    draw_crps(scores, out / "crps.png", BASELINES)
    draw_brier_skill(scores, out / "brier_skill.png", BASELINES)
    draw_reliability(tables, out / "reliability.png", BASELINES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default="scs")
    parser.add_argument("--other", action="append", help="networks of other cells that it is held against")
    asked = parser.parse_args()
    tables, notes = common_forecasts(read(asked.folders))
    asked.out.mkdir(parents=True, exist_ok=True)
    report(tables, asked.out)
    print((asked.out / "table.md").read_text(encoding="utf-8"), *notes, sep="\n")
    ours, climate, ensemble = tables[asked.model], tables[CLIMATOLOGY], tables["steps"]
    for words, of in (("raw", "squared_error"), ("fair", "fair_error")):
        share = ratio(ours, ensemble.assign(squared_error=ensemble[of]), CRPS)
        print(f"CRPS of {asked.model} / STEPS {words} [95 %]: {share}")
        claim(f"crps {asked.model} / STEPS {words}", share.value, "<=", 0.85 if words == "raw" else 0.9)
    claim(f"rates and lead times of {asked.model} below climatology", below_climatology(ours, climate), "<=", 0)
    claim(f"reliability bins of {asked.model} that miss", misses(ours), "<=", 0)
    others = {name: ratio(tables[name], ours, CRPS) for name in asked.other or () if name in tables}
    if others:
        best = min(others, key=lambda name: others[name].value)
        print(f"CRPS of {best} / {asked.model} [95 %]: {others[best]}")
        claim(f"crps {best} / {asked.model}", others[best].value, ">=", 1.03)
    sys.exit(status())


if __name__ == "__main__":
    main()
