"""The table's numbers by hand."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sums import counts

from pipelines.params.nowcast import PYSTEPS
from pipelines.verification.scoring import pooled
from pipelines.verification.table import write_table


def write_both(
    folder: Path,
    tables: dict[str, pd.DataFrame],
    costs: dict[str, dict[str, float]] | None = None,
    networks: Sequence[str] = (),
) -> tuple[list[str], dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_table(
            tables,
            {name: pooled(sums) for name, sums in tables.items()},
            *(folder / "table.md", folder / "table.json"),
            rivals=PYSTEPS,
            networks=networks,
            costs=costs,
            notes=["A note."],
        )
    # No NaN in it: that is no JSON.
    data = json.loads((folder / "table.json").read_text(), parse_constant=pytest.fail)
    return (folder / "table.md").read_text().splitlines(), data


def cells(lines: list[str], name: str) -> dict[str, str]:
    """The first table's row of a method, by the heads of its columns."""
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    row = next(row for row in split if row[0] == name)
    return dict(zip(split[0], row, strict=True))


def test_the_difference_to_the_best_other_cell_is_a_column(tmp_path: Path) -> None:
    better = pd.concat([counts(1, 30, 10), counts(2, 10, 10)])
    worse = pd.concat([counts(1, 20, 20), counts(2, 0, 20)])
    worst = pd.concat([counts(1, 0, 40), counts(2, 0, 20)])
    tables = {"extrapolation": worse, "ours": better, "theirs": worse, "worst": worst}
    lines, data = write_both(tmp_path, tables, networks=["theirs", "worst"])
    assert cells(lines, "ours")["to theirs [95 %]"] == "+0.333 [+0.250 to +0.500]"
    assert cells(lines, "extrapolation")["to theirs [95 %]"].startswith("+0.000 [+0.000 to +0.000]")
    assert cells(lines, "theirs")["to theirs [95 %]"] == "–"
    assert data["rival"] == "theirs"
    ours = next(method for method in data["methods"] if method["method"] == "ours")
    assert ours["difference_to_rival"]["value"] == pytest.approx(1 / 3)


def test_table_by_hand(tmp_path: Path) -> None:
    better = pd.concat([counts(1, 30, 10), counts(2, 10, 10)])
    worse = pd.concat([counts(1, 20, 20), counts(2, 0, 20)])
    cost = {"better": {"parameters": 12345.0, "training_seconds": 67.0}}
    lines, data = write_both(tmp_path, {"extrapolation": worse, "better": better}, cost)
    # The best method comes first. Pooled: 40 / 60 and 20 / 60. Per event: 30/40 and 10/20, 20/40 and 0/20.
    assert lines[2].startswith("| better ")
    # The events, two blocks, differ by 10/40 and 10/20: a draw is one of them twice, or both: 20/60.
    assert cells(lines, "better") == {
        "method": "better",
        "mean CSI, pooled [95 %]": "0.667 [0.500 to 0.750]",
        "mean CSI, per event": "0.625 [0.500 to 0.750]",
        "to extrapolation [95 %]": "+0.333 [+0.250 to +0.500]",
        "frequency bias": "0.67 [0.67 to 0.67]",
        "FSS [95 %]": "nan",  # no rain of 2 mm/h was observed
        "RMSE": "0.500",
        "MAE": "0.250",
        "ME": "0.100",
        "RAPSD error": "0.125",
        "parameters": "12,345",
        "training seconds": "67",
    }
    assert cells(lines, "extrapolation")["to extrapolation [95 %]"] == "–"
    assert cells(lines, "extrapolation")["parameters"] == "–"
    for minutes in (30, 60):
        heads = "CSI · POD · FAR · ETS · HSS · bias · FSS 2 km · FSS 8 km · FSS 32 km"
        at = lines.index(f"{heads}, pooled, at {minutes} minutes:")
        assert lines[at + 2] == "| method | at least 0.5 mm/h | at least 2 mm/h |"
        # Of 200 pixels 40 hits, 20 misses, 140 dry: by chance 40 · 60 / 200 = 12 hits; HSS as Wilks gives it.
        ets, hss = (40 - 12) / (60 - 12), 2 * 40 * 140 / (60 * 160 + 40 * 140)
        said = f"0.67 · 0.67 · 0.00 · {ets:.2f} · {hss:.2f} · 0.67 · 0.75 · 0.75 · 0.75"
        assert lines[at + 4].startswith(f"| better | {said} | nan · nan · nan · ")
    for said in ("2 forecasts", "2 event(s)", "over 2 block(s) of at least 2 hours", "too narrow", "A note."):
        assert said in lines[-1]
    assert data["how"] == lines[-1]
    assert (data["reference"], data["blocks"]) == ("extrapolation", 2)

    scores = pd.DataFrame(data["scores"])
    assert sorted(scores["lead_minutes"].unique()) == list(range(5, 65, 5))
    at_hour = scores[(scores["lead_minutes"] == 60) & (scores["threshold"] == 0.5) & (scores["method"] == "better")]
    assert at_hour.loc[at_hour["pooling"] == "all events", "csi"].item() == pytest.approx(2 / 3)
    of_event = at_hour[at_hour["pooling"] == "one event"].set_index("event")["csi"]
    assert of_event.to_dict() == pytest.approx({1: 0.75, 2: 0.5})


def test_the_difference_is_to_the_best_of_pysteps(tmp_path: Path) -> None:
    tables = {"persistence": counts(1, 39, 1), "extrapolation": counts(1, 20, 20), "sprog": counts(1, 24, 16)}
    lines, data = write_both(tmp_path, tables)
    assert data["reference"] == "sprog"
    assert cells(lines, "extrapolation")["to sprog [95 %]"] == "-0.100, no interval from 1 block(s)"


def test_what_extrapolation_stood_in_for_is_told(tmp_path: Path) -> None:
    fallen = pd.concat([counts(1, 30, 10), counts(1, 30, 10, hour=1).assign(fell_back=True)])
    lines, data = write_both(tmp_path, {"sprog": fallen})
    assert "sprog could not forecast from 1 of them, and extrapolation stood in." in lines[-1]
    assert [method["fell_back"] for method in data["methods"]] == [1]


def test_an_event_without_rain_counts_in_no_mean(tmp_path: Path) -> None:
    lines, _ = write_both(tmp_path, {"one": pd.concat([counts(1, 30, 10), counts(2, 0, 0)])})
    assert cells(lines, "one")["mean CSI, pooled [95 %]"] == "0.750 [0.750 to 0.750]"
    assert cells(lines, "one")["mean CSI, per event"] == "0.750 [0.750 to 0.750]"
    lines, _ = write_both(tmp_path, {"extrapolation": counts(1, 0, 0), "one": counts(1, 0, 0)})
    assert cells(lines, "one")["mean CSI, pooled [95 %]"] == "nan"
    assert cells(lines, "one")["to pysteps"] == "–"


def test_lead_times_shorter_than_half_an_hour_have_a_table_at_the_last(tmp_path: Path) -> None:
    lines, _ = write_both(tmp_path, {"one": counts(1, 30, 10, leads=4)})
    assert any(line.endswith("pooled, at 20 minutes:") for line in lines)
