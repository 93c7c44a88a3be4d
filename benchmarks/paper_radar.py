"""The paper's claims on radar in fixed coordinates: evaluated experiments in one table, and a line a claim.

    python benchmarks/paper_radar.py OUT FOLDER [FOLDER ...]

Each FOLDER is the ``data`` of an experiment of experiments/paper_radar*.args: its scores/ and metrics/train/. Those of
the same lead times stand in one table, whichever networks each of them has; two seeds of a network (NAME, NAME_seed2)
are one row, of the sums of both. OUT gets table.md. Intervals are of 95 %, by blocks of weather, both networks of a
ratio by the same draws. A claim is of the number itself; the interval above it says whether 1 may be as well.
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
from pipelines.common.markdown import table_head, table_row
from pipelines.nowcast.scores import by_field
from pipelines.verification.bootstrap import CELLS, KEY, Interval, Tables, common_forecasts, mean_over_cells, mean_score
from pipelines.verification.images import IMAGE_SUMS, MEANS
from pipelines.verification.scoring import SUMS

SEED = "_seed2"
EXPLAINED = ("t1_explained", "t2_explained")
CSI = mean_over_cells("csi")  # over lead times, of one threshold
# Of all rows, or of those of a threshold, mm/h.
SCORES = {
    "MSE": (MEANS["mse"], None),
    "SSIM": (MEANS["ssim"], None),
    "CSI 20 dBZ": (CSI, 0.648),
    "CSI 30 dBZ": (CSI, 2.734),
}
THRESHOLDS = {threshold for _, threshold in SCORES.values() if threshold}
# Claim, score, network, network that it is divided by, and what is wanted.
WANTED = [
    *(("(a) depth helps SCS", "MSE", f"{name}_8", f"{name}_1", "<=", 1.0) for name in ("scs", "stsgd", "astsgd")),
    ("(a) depth hurts ConvLSTM", "MSE", "convlstm_8", "convlstm_1", ">=", 1.0),
    ("(a) with residual lines, depth helps SCS", "MSE", "scs_8_lines", "scs_1", "<=", 1.0),
    ("(a) with residual lines, depth hurts ConvLSTM", "MSE", "convlstm_8_lines", "convlstm_1", ">=", 1.0),
    *(
        ("(b) a switch helps", "MSE", f"{name}_{depth}", f"scs_{depth}", "<=", 1.0)
        for depth in (1, 4, 8)
        for name in ("stsgd", "astsgd")
    ),
    *(
        ("(b) a switch helps", "MSE", name, "scs_4", "<=", 1.0)
        for name in ("one_sided_4", "stsgd_4_p25", "stsgd_4_p75")
    ),
    *(
        (f"(c) SCS above ConvLSTM, equal {what}", score, ours, other, op, wanted)
        for what, ours, other in (
            ("time", "scs_4", "convlstm_4"),
            ("time, both with residual lines", "scs_4_lines", "convlstm_4_lines"),
            ("parameters", "scs_4", "convlstm_4_15"),
        )
        for score, op, wanted in (("MSE", "<=", 0.97), ("CSI 20 dBZ", ">=", 1.03), ("CSI 30 dBZ", ">=", 1.03))
    ),
]


def read(folders: list[Path]) -> dict[str, dict[str, pd.DataFrame]]:
    """Return sums by the lead times, such as "10 to 100 minutes", and the method's name; a network's seeds are one."""
    groups: dict[str, dict[str, pd.DataFrame]] = {}
    for folder in folders:
        for file in sorted((folder / "scores").glob("*.parquet")):
            sums = pd.read_parquet(file)
            if not {*IMAGE_SUMS} <= {*sums}:
                sys.exit(f"{file}: no sums of echo images: evaluate it with evaluate.images: true")
            if missing := THRESHOLDS - {*sums["threshold"]}:
                sys.exit(f"{file}: no scores at {min(missing)} mm/h: evaluate it with that in evaluate.thresholds")
            leads = f"{sums['minutes'].min():g} to {sums['minutes'].max():g} minutes"
            group = groups.setdefault(leads, {})
            for name, of_field in by_field(file.stem, sums).items():
                if not of_field.equals(group.setdefault(name, of_field)):
                    sys.exit(f"{file}: other scores of {name} than in a folder before: one network a name")
    if not groups:
        sys.exit(f"{', '.join(map(str, folders))}: no scores/*.parquet there")
    return {leads: seeds_together(common_forecasts(tables)[0]) for leads, tables in groups.items()}


def seeds_together(tables: Tables) -> dict[str, pd.DataFrame]:
    """Add up the sums of a network's seeds: scores are then those of all forecasts of both."""
    together: dict[str, list[pd.DataFrame]] = {}
    for name, sums in tables.items():
        together.setdefault(name.removesuffix(SEED), []).append(sums)
    keys = [*KEY, *CELLS]
    return {
        name: pd.concat(of).groupby(keys, as_index=False)[[*SUMS, *IMAGE_SUMS]].sum() for name, of in together.items()
    }


def score(name: str, *tables: pd.DataFrame) -> Interval:
    """Return a score of one method's sums, or the ratio of two methods' scores."""
    statistic, threshold = SCORES[name]
    rows = [sums if threshold is None else sums[sums["threshold"] == threshold] for sums in tables]
    return ratio(*rows, statistic) if len(rows) == 2 else mean_score(*rows, statistic)


def table_of(tables: Tables, parameters: Mapping[str, int], reference: str = "convlstm_4") -> list[str]:
    """Return a table of each method's scores, and of their shares of the reference's, least MSE first."""
    lines = table_head("method", "parameters", *(head for name in SCORES for head in (name, f"/ {reference} [95 %]")))
    values = {name: {of: score(of, sums) for of in SCORES} for name, sums in tables.items()}
    for name in sorted(tables, key=lambda name: values[name]["MSE"].value):
        compared = name != reference and reference in tables
        shares = {of: f"{score(of, tables[name], tables[reference])}" if compared else "–" for of in SCORES}
        cells = (cell for of in SCORES for cell in (f"{values[name][of].value:.4f}", shares[of]))
        lines.append(table_row(name, f"{parameters[name]:,}" if name in parameters else "–", *cells))
    any_table = next(iter(tables))
    count, blocks = len(tables[any_table][KEY].drop_duplicates()), values[any_table]["MSE"].blocks
    return [*lines, "", f"{count} forecasts, {blocks} blocks; means over the lead times."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    asked = parser.parse_args()
    groups = read(asked.folders)
    files = [file for folder in asked.folders for file in sorted((folder / "metrics/train").glob("*.json"))]
    told = [(file.stem, json.loads(file.read_text(encoding="utf-8"))) for file in files]
    parameters = {name: of["parameters"] for name, of in told}
    lines = ["# Radar in fixed coordinates"]
    for leads, tables in groups.items():
        lines += ["", f"## Lead times of {leads}", "", *table_of(tables, parameters)]
        for words, of, ours, theirs, op, wanted in WANTED:
            if {ours, theirs} <= tables.keys():
                found = score(of, tables[ours], tables[theirs])
                print(f"{leads}: {of} of {ours} / {theirs} [95 %]: {found}")
                claim(f"{words}: {of} {ours} / {theirs}, {leads}", found.value, op, wanted)
    lines += ["", "## (d) What subtasks explain of their targets' squares", "", *table_head("network", "T¹", "T²")]
    lines += [
        table_row(name, *(f"{of[key]:.3f}" if key in of else "–" for key in EXPLAINED))
        for name, of in told
        if {*EXPLAINED} & {*of}
    ]
    asked.out.mkdir(parents=True, exist_ok=True)
    write_text(asked.out / "table.md", "\n".join([*lines, ""]))
    print("\n".join(lines))
    sys.exit(status())


if __name__ == "__main__":
    main()
