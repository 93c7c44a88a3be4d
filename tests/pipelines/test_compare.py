"""The comparison's numbers by hand, and its pictures whole or absent."""

import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from archive import write_archive
from matplotlib.image import imread
from ruamel.yaml import YAML
from small_model import NETWORK, write_model

from pipelines import compare as stage
from pipelines import evaluate as evaluation
from pipelines.compare import draw_csi, draw_example, read_scores, write_table
from pipelines.errors import UserError
from pipelines.forecasters import BASELINES
from pipelines.index import index
from pipelines.maps import few_leads
from pipelines.params import Params, read_params

ROOT = Path(__file__).parents[2]
LEADS = 12


def counts(event: int, hits: int, errors: int, *, leads: int = LEADS) -> pd.DataFrame:
    """One forecast's counts: at 0.5 mm/h CSI hits/(hits + errors), at 2 mm/h undefined; mean absolute error 0.25."""
    common = {"event": event, "t0": 10 * event, "correct_negatives": 100 - hits - errors, "absolute_error": 25.0}
    rain = {"threshold": 0.5, "hits": hits, "misses": errors, "false_alarms": 0} | common
    none = {"threshold": 2.0, "hits": 0, "misses": 0, "false_alarms": 0} | common | {"correct_negatives": 100}
    return pd.DataFrame([{"lead": lead} | row for lead in range(1, leads + 1) for row in (rain, none)])


def write_both(folder: Path, tables: dict[str, pd.DataFrame]) -> tuple[list[str], dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_table(tables, 300, folder / "table.md", folder / "table.json")
    # No NaN in it: that is no JSON.
    data = json.loads((folder / "table.json").read_text(), parse_constant=pytest.fail)
    return (folder / "table.md").read_text().splitlines(), data


def test_table_by_hand(tmp_path: Path) -> None:
    better = pd.concat([counts(1, 30, 10), counts(2, 10, 10)])
    worse = pd.concat([counts(1, 20, 20), counts(2, 0, 20)])
    lines, data = write_both(tmp_path, {"worse": worse, "better": better})
    # Pooled: 40 / 60 and 20 / 60. Per event: 30/40 and 10/20, 20/40 and 0/20. The best method comes first.
    assert lines[2:4] == [
        "| better | 0.667 | 0.625 [0.500 to 0.750] | 0.250 |",
        "| worse | 0.333 | 0.250 [0.000 to 0.500] | 0.250 |",
    ]
    for minutes in (30, 60):
        at = lines.index(f"CSI · POD · FAR · bias, pooled, at {minutes} minutes:")
        assert lines[at + 2] == "| method | at least 0.5 mm/h | at least 2 mm/h |"
        assert lines[at + 4] == "| better | 0.67 · 0.67 · 0.00 · 0.67 | nan · nan · nan · nan |"
    assert "2 forecasts" in lines[-1]
    assert "2 test event(s)" in lines[-1]
    assert data["how"] == lines[-1]

    scores = pd.DataFrame(data["scores"])
    assert sorted(scores["lead_minutes"].unique()) == list(range(5, 65, 5))
    at = scores[(scores["lead_minutes"] == 60) & (scores["threshold"] == 0.5) & (scores["method"] == "better")]
    assert at.loc[at["pooling"] == "all events", "csi"].item() == pytest.approx(2 / 3)
    of_event = at[at["pooling"] == "one event"].set_index("event")["csi"]
    assert of_event.to_dict() == pytest.approx({1: 0.75, 2: 0.5})


def test_an_event_without_rain_counts_in_no_mean(tmp_path: Path) -> None:
    lines, _ = write_both(tmp_path, {"one": pd.concat([counts(1, 30, 10), counts(2, 0, 0)])})
    assert lines[2] == "| one | 0.750 | 0.750 [0.750 to 0.750] | 0.250 |"
    lines, _ = write_both(tmp_path, {"one": counts(1, 0, 0)})
    assert lines[2] == "| one | nan | nan [nan to nan] | 0.250 |"


def test_lead_times_shorter_than_half_an_hour_have_a_table_at_the_last(tmp_path: Path) -> None:
    lines, _ = write_both(tmp_path, {"one": counts(1, 30, 10, leads=4)})
    assert "CSI · POD · FAR · bias, pooled, at 20 minutes:" in lines


@pytest.mark.parametrize(
    ("leads", "shown"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 3, 4]), (12, [3, 6, 9, 12])]
)
def test_few_leads_are_even_and_end_with_the_last(leads: int, shown: list[int]) -> None:
    assert (few_leads(leads) + 1).tolist() == shown


def test_csi_is_drawn_for_undefined_scores_too(tmp_path: Path) -> None:
    draw_csi({"persistence": counts(1, 30, 10), "scs": counts(1, 0, 0)}, 300, tmp_path / "csi.png")
    assert imread(tmp_path / "csi.png").std() > 0.01


# The whole stage


def small_params(folder: Path, **changes: int) -> Params:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content["index"] |= {"inputs": 3, "leads": 4, "size": 32, "stride": 32, "train_wet_share": 0.0} | changes
    YAML().dump(content, folder / "params.yaml")
    return read_params(folder / "params.yaml")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive, two untrained networks, and the scores of all methods."""
    folder = tmp_path_factory.mktemp("compare")
    params = small_params(folder)
    write_archive(folder / "radar.zarr", shape=(36, 44))
    index(folder / "radar.zarr", folder / "windows.parquet", params.index)
    networks = [
        write_model(folder / "models" / name, {"method": "network", "inputs": 3, "network": NETWORK}, seed=seed)
        for seed, name in enumerate(params.models)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for method in [*BASELINES, *(f"models/{network.name}" for network in networks)]:
            name = Path(method).name
            evaluation.main(
                method,
                Path("radar.zarr"),
                Path("windows.parquet"),
                Path(f"scores/{name}.parquet"),
                Path(f"{name}.json"),
            )
    return folder


def test_the_stage_writes_two_tables_and_two_pictures(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        stage.main(Path("radar.zarr"), Path("windows.parquet"), Path("scores"), Path("models"), out)
    files = ["csi.png", "maps.png", "table.json", "table.md"]
    assert sorted(path.name for path in one.iterdir()) == files
    # DVC compares bytes: what depends on the outputs must not run again for nothing.
    assert [(one / file).read_bytes() for file in files] == [(two / file).read_bytes() for file in files]
    assert (one / "table.md").read_text() in capsys.readouterr().out
    scores = pd.DataFrame(json.loads((one / "table.json").read_text())["scores"])
    assert set(scores["method"]) == {"persistence", "extrapolation", *read_params().models}
    assert scores.loc[scores["method"] == "persistence", "csi"].between(0, 1).any()
    tall, wide = imread(one / "maps.png").shape[:2]
    assert 0.5 < tall / wide < 2.0  # five rows of five maps, nearly square


def test_a_method_without_scores_is_named(place: Path, tmp_path: Path) -> None:
    params = small_params(tmp_path)
    (tmp_path / "scores").mkdir()
    for name in BASELINES:
        (tmp_path / "scores" / f"{name}.parquet").write_bytes((place / "scores" / f"{name}.parquet").read_bytes())
    with pytest.raises(UserError, match=r"^params\.yaml: models\.\w+: has no scores") as error:
        read_scores(tmp_path / "scores", params)
    assert "\n" not in str(error.value)


def test_a_picture_is_whole_or_absent(place: Path, tmp_path: Path) -> None:
    (tmp_path / "maps.png").write_text("the one before")
    broken = tmp_path / "broken"
    write_model(broken, {"method": "network", "inputs": 3, "network": NETWORK})
    (broken / "weights.safetensors").write_bytes(b"")
    params = read_params(place / "params.yaml")
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        draw_example([broken], place / "radar.zarr", place / "windows.parquet", tmp_path / "maps.png", params)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "maps.png"]
    assert (tmp_path / "maps.png").read_text() == "the one before"
