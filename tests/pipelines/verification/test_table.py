"""The table's numbers by hand."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sums import counts

from pipelines.params.nowcast import PYSTEPS
from pipelines.verification.member_table import member_section
from pipelines.verification.probabilities import BINS, score_probabilities
from pipelines.verification.probability_table import probability_section
from pipelines.verification.scoring import FSS_SUMS, pooled
from pipelines.verification.spatial import power_columns
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


RATES = (0.5, 2.0, 4.0)


def probabilities(p: Sequence[float], came: Sequence[int], *, event: int = 1, members: int | None = None) -> Any:
    """Sums at 30 and 60 minutes of a forecast that says ``p`` of each rate everywhere; of 100 pixels ``came`` do."""
    observed = np.select([np.arange(100) < number for number in came[::-1]], RATES[::-1], 0.0)[None, None]
    observed, exceedance = np.repeat(observed, 2, 0), np.broadcast_to(np.reshape(p, (1, 3, 1, 1)), (2, 3, 1, 100))
    mask = np.ones(observed.shape, bool)
    sums = score_probabilities(exceedance, observed, mask, RATES, minutes=[30, 60], members=members)
    return sums.assign(event=event, time=pd.Timestamp(2024, 6, event))


def test_probabilities_by_hand(tmp_path: Path) -> None:
    came = {1: (60, 20, 0), 2: (40, 0, 0)}
    tables = {
        name: pd.concat(probabilities(p, came[event], event=event, members=members) for event in came)
        for name, p, members in (
            ("climatology", (0.45, 0.15, 0.0), None),
            ("steps", (0.5, 0.0, 0.0), 2),
            ("scs", (0.5, 0.1, 0.0), None),
        )
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        section = probability_section(tables, climatology="climatology", rivals=["climatology", "steps"])
        alone = probability_section({"scs": tables["scs"]}, climatology="climatology", rivals=["steps"])
        fields = {"scs": counts(1, 30, 10)}
        written = (tmp_path / "table.md", tmp_path / "table.json")
        write_table(fields, {"scs": pooled(fields["scs"])}, *written, rivals=(), sections={"probabilities": section})

    def brier(p: Sequence[float], event: int) -> np.ndarray:
        share = np.array(came[event]) / 100
        return share * (1 - np.array(p)) ** 2 + (1 - share) * np.array(p) ** 2

    scs, steps, reference = (
        np.array([brier(p, event) for event in came]) for p in ((0.5, 0.1, 0), (0.5, 0, 0), (0.45, 0.15, 0))
    )
    # Ends of the intervals are those of one of the two events alone, which a quarter of the draws are.
    value = np.trapezoid(scs.mean(axis=0), RATES)
    low, high = sorted(np.trapezoid(scs, RATES, axis=1))
    row = cells(section.lines[3:], "scs")
    assert row == {
        "method": "scs",
        "CRPS [95 %]": f"{value:.4f} [{low:.4f} to {high:.4f}]",
        # 0.75 · (0.25 + 0.17) + 0.17 - 0.75 · (0.2625 + 0.1625) - 0.1625, and 0.205 - 0.22125
        "to climatology [95 %]": "-0.0063 [-0.0163 to +0.0037], no difference shown",
        "CRPS fair [95 %]": "–",
        "members": "–",
    }
    assert [line.split("|")[1].strip() for line in section.lines[5:8]] == ["scs", "climatology", "steps"]
    # Two members that split at 0.5 mm/h: p (1 - p) / (2 - 1) is taken off.
    fair = np.trapezoid(steps.mean(axis=0) - [0.25, 0, 0], RATES)
    assert cells(section.lines[3:], "steps")["CRPS fair [95 %]"].startswith(f"{fair:.4f} [")
    skill = 1 - scs.mean(axis=0) / np.where(reference.any(axis=0), reference.mean(axis=0), np.nan)
    at = section.lines.index("Brier skill [95 %] · fair · ROC area · sharpness, pooled, at 60 minutes:")
    assert section.lines[at + 2] == "| method | at least 0.5 mm/h | at least 2 mm/h |"
    of_scs = section.lines[at + 4].split(" | ")
    ends = np.sort(1 - scs[:, :2] / reference[:, :2], axis=0)
    at_half, at_two = (f"{skill[k]:.2f} [{ends[0, k]:.2f} to {ends[1, k]:.2f}]" for k in range(2))
    assert of_scs[1:3] == [f"{at_half} · – · 0.50 · 0.250", f"{at_two} · – · 0.50 · 0.090 |"]

    text = written[0].read_text()
    assert "\n".join(section.lines) in text and text.index("CSI") < text.index("## Probabilities")
    data = json.loads(written[1].read_text(), parse_constant=pytest.fail)["probabilities"]
    assert [method["method"] for method in data["methods"]] == ["scs", "climatology", "steps"]
    assert data["methods"][0]["crps"]["value"] == pytest.approx(value)
    assert len(data["scores"]) == 3 * 3 * 2 and len(data["reliability"]) == 3 * 3 * BINS
    first = next(one for one in data["reliability"] if one["count"] and one["method"] == "scs")
    assert (first["said"], first["came"], first["low"], first["high"]) == pytest.approx((0.5, 0.5, 0.4, 0.6))
    assert "no forecasts of climatology" in alone.lines[-1] and alone.lines[5].endswith("| – | – |")


def test_members_by_hand() -> None:
    def of(share: float, variance: float, event: int) -> pd.DataFrame:
        """Ten pixels, of whose amounts all reach 1 mm and a share of two members does."""
        row: dict[str, Any] = {"minutes": 60.0, "threshold": 2.0, "members": 2, "pixels": 10, "squared_error": 30.0}
        row |= {"variance": variance, "rank_0": 1, "rank_1": 6, "rank_2": 3} | dict.fromkeys(
            power_columns(("member", "observed")), 2.0
        )
        row |= {name: 1.0 if "error" in name else 4.0 for name in FSS_SUMS} | {"of": "rates"}
        shares, observed = np.full((1, 2, 1, 10), share), np.full((1, 1, 10), 3.0)
        amounts = score_probabilities(shares, observed, observed > 0, (1.0, 2.0), minutes=[60.0], members=2)
        rows = [pd.DataFrame([row]), amounts.assign(of="amounts"), amounts.assign(of="areas")]
        return pd.concat(rows).assign(event=event, time=pd.Timestamp(2024, 6, event))

    tables = {
        name: pd.concat(of(share, variance, event) for event in (1, 2))
        for name, share, variance in (("steps", 0.5, 20.0), ("scs", 1.0, 5.0))
    }
    lines, content = member_section(tables, rivals=["steps"])
    head = lines.index("## Members") + 2
    # Variance 20 · 3/2 = 30 is the error. 4 of 10 ranks are beyond, of which 2 of 3 should be.
    spread = "spread/error · outliers, 60 min"
    assert cells(lines[head:], "steps") == {"method": "steps", "members": "2", spread: "1.00 · 0.60"}
    assert cells(lines[head:], "scs")[spread] == "0.50 · 0.60"
    waves = " · ".join(["1.00"] * 9)
    assert f"| steps | {waves}, 0.75 · 0.75 · 0.75 |" in lines
    # Half of 1 mm from 1 to 2 mm is missed wholly or by a half; two members that differ are forgiven all of it.
    for kind in ("amounts", "areas"):
        steps, scs = (next(of for of in content[kind]["methods"] if of["method"] == name) for name in ("steps", "scs"))
        assert (steps["crps"]["value"], steps["crps_fair"]["value"]) == (0.25, 0.0)
        assert (scs["crps"]["value"], scs["difference"]["value"]) == (0.0, -0.25)
    assert {row["0"] for row in content["ranks"]} == {0.1}
    assert "2 forecasts" in content["how"]
