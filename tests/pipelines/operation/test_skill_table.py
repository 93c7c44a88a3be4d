"""The command `scs skill`: what it prints is what the ledger holds."""

import json
from pathlib import Path

import numpy as np
import pytest
from archive import moving_cells
from conftest import write_params
from domains import domain_in
from issued_files import write_issued
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.common.errors import UserError
from pipelines.operation.ledger import PROBABILITIES, read_ledger
from pipelines.operation.live_store import LiveStore
from pipelines.operation.skill import probability_skill, skill
from pipelines.operation.skill_table import skill_table
from pipelines.operation.verify import close_cycles
from pipelines.params.read import read_params

FRAMES = moving_cells("2024-06-01T23:30:00", 12)
LATER = np.datetime64("2024-06-02T12:00:00")


def test_a_days_cycles_are_listed_with_gaps_fallbacks_and_what_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"here": {}})
    domain = read_params().domain("here")
    shown = CliRunner().invoke(app, ["skill", "here"])
    assert isinstance(shown.exception, UserError) and "no forecast has been published" in str(shown.exception)
    live = LiveStore.of(domain)
    live.append([*FRAMES[:8], *FRAMES[9:]])
    for newest, said in ((4, {}), (6, {}), (7, {"fallback": "extrapolation: broken", "method": "extrapolation"})):
        after = np.stack([frame.rain_rate for frame in FRAMES[newest + 1 : newest + 4]])
        write_issued(domain.out, FRAMES[newest - 2 : newest + 1], after, **said)
    # the store packs in steps of 0.01 mm/h: none of them is near to this threshold
    assert len(list(close_cycles(domain, live.open(), [1.005], LATER, []))) == 3
    write_issued(domain.out, FRAMES[6:9], np.zeros((3, 64, 64)))  # issued now, and so open

    shown = CliRunner().invoke(app, ["skill", "here", "--days", "2"])
    assert shown.exit_code == 0, shown.exception
    table = skill(read_ledger(domain.out))
    rolling = [line for line in shown.output.splitlines() if line.startswith("| radar-nowcast | 3 | scs |")]
    for line, name in zip(rolling, ("issued", "extrapolation", "persistence"), strict=True):
        row = table.loc[("radar-nowcast", "3", "scs", name)]
        assert line.split(" | ")[3:6] == [name, "2", f"{row['csi']:.3f}"]
    assert "| CSI | issued | 1.000 | 1.000 | 1.000 |" in shown.output  # it issued what was observed then
    day = [line.split(" | ") for line in shown.output.splitlines() if line[:5] == "| 00:"]
    assert [cells[:4] for cells in day] == [
        ["| 00:00", "radar-nowcast 3", "3", "1"],
        ["| 00:05", "fallback: extrapolation", "3", "1"],
        ["| 00:10", "", "", "open"],
    ]
    assert "Probabilities" not in shown.output
    found = json.loads(CliRunner().invoke(app, ["skill", "here", "--days", "2", "--json"]).output)
    (issued,) = (row for row in found["skill"] if row["model_version"] == "3" and row["forecaster"] == "issued")
    assert issued["csi"] == pytest.approx(table.loc["radar-nowcast", "3", "scs", "issued"]["csi"])
    assert {row["minutes"]: row["csi"] for row in found["skill_by_lead"] if row["forecaster"] == "issued"} == {
        5: 1,
        10: 1,
        15: 1,
    }
    assert (found["newest"], found["days"], found["probabilities"]) == ("2024-06-02T00:10:00", 2, [])
    before = CliRunner().invoke(app, ["skill", "here", "--day", "2024-06-01"]).output
    assert [line[:9] for line in before.splitlines() if line[:4] == "| 23"] == ["| 23:50 |"]
    shown = CliRunner().invoke(app, ["skill", "here", "--day", "yesterday"])
    assert str(shown.exception) == "--day: 'yesterday' is no date like 2020-10-31"


@pytest.mark.parametrize("climatology", [None, [0.3, 0.2, 0.1]])
def test_of_probabilities_crps_and_brier_skill_are_shown(tmp_path: Path, climatology: list[float] | None) -> None:
    domain = domain_in(tmp_path)
    live, rates = LiveStore.of(domain), [0.105, 2.005, 7.005]  # between the steps of what is stored
    live.append(FRAMES)
    after = np.stack([frame.rain_rate for frame in FRAMES[5:8]])
    perfect = (after.round(2)[:, None] >= np.array(rates)[:, None, None]).astype(float)
    perfect[np.isnan(after)[:, None].repeat(3, axis=1)] = np.nan
    write_issued(domain.out, FRAMES[2:5], after, exceedance=(rates, perfect), climatology=climatology)
    list(close_cycles(domain, live.open(), [1.0], LATER, []))
    lines = skill_table(domain.out, 1).splitlines()
    assert "| model | version | score | forecaster | mean | 5 | 10 | 15 |" in lines
    assert "| radar-nowcast | 3 | CRPS | issued | 0.000 | 0.000 | 0.000 | 0.000 |" in lines
    skill_is = [line for line in lines if "Brier skill, 2.005 mm/h" in line]
    wanted = "| radar-nowcast | 3 | Brier skill, 2.005 mm/h | issued | 1.000 | 1.000 | 1.000 | 1.000 |"
    assert skill_is == ([wanted] if climatology else [])
    of = probability_skill(read_ledger(domain.out, kind=PROBABILITIES))["crps"].droplevel([0, 1, 2])
    for name in ("extrapolation", "persistence", *(["climatology"] if climatology else [])):
        assert f"| radar-nowcast | 3 | CRPS | {name} | {of[name]:.3f} |" in "\n".join(lines)
        assert of[name] > 0.01


def test_every_lead_time_of_any_model_has_a_column(tmp_path: Path) -> None:
    domain = domain_in(tmp_path)
    live, rates = LiveStore.of(domain), [0.105, 2.005]
    live.append(FRAMES)
    for newest, leads, version in ((4, 2, "3"), (5, 4, "4")):
        after = np.stack([frame.rain_rate for frame in FRAMES[newest + 1 : newest + 1 + leads]])
        said = np.where(np.isnan(after), np.nan, 0.5)[:, None].repeat(2, axis=1)
        frames = FRAMES[newest - 2 : newest + 1]
        write_issued(domain.out, frames, after, exceedance=(rates, said), model_version=version)
    list(close_cycles(domain, live.open(), [1.0], LATER, []))
    lines = skill_table(domain.out, 1).splitlines()
    assert "| model | version | score | forecaster | mean | 5 | 10 | 15 | 20 |" in lines
    for version, undefined in (("3", 2), ("4", 0)):
        (row,) = (line for line in lines if line.startswith(f"| radar-nowcast | {version} | CRPS | issued |"))
        assert row.count("| nan") == undefined and row.count("|") == 10
