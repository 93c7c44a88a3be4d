"""What members are worth on radar networks that no training saw: several evaluations in one table.

    python benchmarks/member_skill.py OUT FOLDER [FOLDER ...] [--model scs]

Each FOLDER is the ``data/members`` of an experiment that left another radar network out, with ``evaluate.members`` as
many as STEPS has: its tables add up, as in probability_skill.py. OUT gets the table and its JSON.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from claims import claim, status
from probability_skill import read
from ratios import ratio

from pipelines.common.files import write_text
from pipelines.params.nowcast import BASELINES
from pipelines.verification.bootstrap import common_forecasts
from pipelines.verification.ensembles import ensemble_scores
from pipelines.verification.member_table import member_section
from pipelines.verification.probabilities import CRPS_FAIR
from pipelines.verification.table import without_nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default="scs")
    asked = parser.parse_args()
    tables, notes = common_forecasts(read(asked.folders))
    section = member_section(tables, rivals=BASELINES)
    asked.out.mkdir(parents=True, exist_ok=True)
    write_text(asked.out / "table.md", "\n".join([*section.lines, ""]))
    write_text(asked.out / "table.json", json.dumps(without_nan(section.content), indent=1))
    print(*section.lines, *notes, sep="\n")

    ours, ensemble = tables[asked.model], tables["steps"]
    scores = ensemble_scores(ours[ours["of"] == "rates"])
    spread_error = scores["spread_error"]
    claim(f"spread / error of {asked.model}, lowest", spread_error.min(), ">=", 0.8)
    claim(f"spread / error of {asked.model}, highest", spread_error.max(), "<=", 1.25)
    powers = np.abs(np.log(scores.filter(like="rapsd_ratio_")))
    claim(f"RAPSD of {asked.model}, factor that it is off by", float(np.exp(np.nanmax(powers))), "<=", 1.5)
    for kind in ("amounts", "areas"):
        share = ratio(*(sums[sums["of"] == kind] for sums in (ours, ensemble)), CRPS_FAIR)
        print(f"CRPS of {kind} of {asked.model} / STEPS, both fair [95 %]: {share}")
        claim(f"crps {kind} {asked.model} / STEPS", share.value, "<=", 0.9)
    sys.exit(status())


if __name__ == "__main__":
    main()
