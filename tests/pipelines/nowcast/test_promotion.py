"""The gate and the decisions, on tables whose scores are known by hand, in a real MLflow store."""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from mlflow.models import Model
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.common.errors import UserError
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.model_card import model_card
from pipelines.nowcast.promotion import CRPS, judge, promote, rollback
from pipelines.nowcast.register import choose
from pipelines.nowcast.specification import NAME, RADAR
from pipelines.params.read import Params, read_params
from pipelines.tracking import decisions
from pipelines.tracking.registry import RegisteredModel, Version
from pipelines.tracking.store import connect
from pipelines.verification.probabilities import PROBABILITY_SUMS
from pipelines.verification.scoring import SUMS

NAMES = ("extrapolation", "scs", "convlstm")  # versions 1, 2, 3
WINDOWS = Path("windows.parquet")
LEVEL = np.array([40, 44, 36, 50, 42, 38, 41, 45, 39, 47])  # hits of an event, of 100 wet pixels


def table(hits: np.ndarray) -> pd.DataFrame:
    """Sums of two forecasts of each event, a day apart: CSI is the mean of ``hits`` / 100 at each lead time."""
    rows = []
    for event, of_event in enumerate(hits):
        for minute in (0, 30):
            about = {"event": f"e{event}", "time": pd.Timestamp(2024, 6, event + 1, 12, minute)}
            counts = {"hits": of_event, "misses": 100 - of_event, "false_alarms": 0, "correct_negatives": 900}
            rows += [
                dict.fromkeys(SUMS, 0.0) | counts | about | {"minutes": lead, "threshold": 1.0} for lead in (5.0, 10.0)
            ]
    return pd.DataFrame(rows)


def tables(scs: float, convlstm: float = -20, blocks: int = 8) -> dict[str, pd.DataFrame]:
    """Tables in which extrapolation has `LEVEL`, and the networks about so many hits of 100 more."""
    level = LEVEL[:blocks]
    wobble = np.resize([1, -1], blocks)  # a tie is not won everywhere
    return {
        "extrapolation": table(level),
        "scs": table(level + scs + wobble),
        "convlstm": table(level + convlstm + wobble),
    }


def sha_of(name: str) -> str:
    """Hash of a model's folder by hand: of its one file's name and digest."""
    return hashlib.sha256(f"model.json\0{hashlib.sha256(name.encode()).hexdigest()}\n".encode()).hexdigest()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the three versions and no champion; to copy, since making one takes seconds."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "dvc.yaml").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        client = connect(NAME)
        client.create_registered_model(NAME)
        for name in NAMES:
            model = Model(flavors={"python_function": {"loader_module": "none", "data": "data"}})
            (folder / name / "data").mkdir(parents=True)
            (folder / name / "data" / "model.json").write_text(name)
            model.save(folder / name / "MLmodel")
            client.create_model_version(NAME, str(folder / name), tags={"model": name, "model_sha256": sha_of(name)})
    return folder / "mlflow.db"


@pytest.fixture
def params(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Parameters with two networks, and as working directory a folder with a store of the test's own."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(template, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "dvc.yaml").touch()
    WINDOWS.write_bytes(b"windows")
    whole = read_params(REPOSITORY / "params.yaml")
    return whole.model_copy(update={"trained": list(NAMES[1:])})


def versions() -> dict[str, Version]:
    return {name: Version(str(k + 1), sha_of(name)) for k, name in enumerate(NAMES)}


def champion() -> str | None:
    found = RADAR.find_alias("champion")
    return found.number if found else None


def story() -> list[tuple[str, str]]:
    return [(entry.by, entry.champion) for entry in decisions.read_decisions(RADAR)]


@pytest.mark.parametrize(("blocks", "expected"), [(8, "2"), (7, "1")])
def test_a_clear_win_promotes_on_8_blocks_and_not_on_7(params: Params, blocks: int, expected: str) -> None:
    choose(WINDOWS, tables(scs=10, blocks=blocks), versions(), params=params)
    assert champion() == expected
    assert RADAR.find_alias("challenger") == versions()["scs"]
    assert story() == [("first", "1"), ("gate", expected)]


def test_the_judgement_is_the_sums_by_hand() -> None:
    of = tables(scs=10)
    judged = judge(of["scs"], of["convlstm"], of["extrapolation"])
    mean = LEVEL[:8].mean() / 100
    assert (judged.challenger, judged.champion, judged.extrapolation) == pytest.approx(
        (mean + 0.10, mean - 0.20, mean), abs=1e-12
    )
    # What each block gains is 9 or 11 of 100: the mean of any 8 of them lies between.
    assert judged.to_extrapolation.value == pytest.approx(0.10)
    assert 0.09 <= judged.to_extrapolation.low < 0.10 < judged.to_extrapolation.high <= 0.11
    # The champion has the same wobble: it is 30 of 100 worse in every block.
    assert (judged.to_champion.low, judged.to_champion.high) == pytest.approx((0.30, 0.30))
    assert (judged.blocks, judged.forecasts, judged.promoted) == (8, 16, True)


def probabilities(scs: float, convlstm: float = 20, blocks: int = 8) -> dict[str, pd.DataFrame]:
    """Sums whose Brier score at 1 and 2 mm/h is ``LEVEL`` hundredths and about so many more: CRPS is that, too."""
    wobble = np.resize([1, -1], blocks)
    tables = {}
    for name, more in {"extrapolation": 0 * wobble, "scs": scs + wobble, "convlstm": convlstm + wobble}.items():
        rows = []
        for event, error in enumerate(LEVEL[:blocks] + more):
            about = {"event": f"e{event}", "time": pd.Timestamp(2024, 6, event + 1, 12), "members": np.nan}
            sums = dict.fromkeys(PROBABILITY_SUMS, 0.0) | {"pixels": 100, "squared_error": error, "count_0": 100}
            sums["spread"] = float(name != "extrapolation")
            rows += [sums | about | {"minutes": lead, "threshold": rate} for lead in (5.0, 10.0) for rate in (1.0, 2.0)]
        tables[name] = pd.DataFrame(rows)
    return tables


@pytest.mark.parametrize(("gain", "blocks", "expected"), [(10, 8, "2"), (10, 7, "1"), (0, 8, "1"), (-5, 8, "1")])
def test_networks_that_give_probabilities_are_judged_by_crps(
    params: Params, gain: float, blocks: int, expected: str
) -> None:
    of = probabilities(scs=-gain, blocks=blocks)
    # By CSI it would be convlstm, and a champion.
    choose(WINDOWS, tables(scs=-20, convlstm=20, blocks=blocks), versions(), params=params, probabilities=of)
    assert RADAR.find_alias("challenger") == versions()["scs"]
    assert champion() == expected
    mean, gained = LEVEL[:blocks].mean() / 100, (gain - np.resize([1, -1], blocks)).mean() / 100
    said = decisions.read_decisions(RADAR)[-1].words
    assert f"CRPS {mean - gained:.4f} against the champion's {mean:.4f} and extrapolation's {mean:.4f}; gain" in said
    judged = judge(of["scs"], of["convlstm"], of["extrapolation"], CRPS)
    assert judged.to_extrapolation.value == pytest.approx(gained)
    assert judged.to_extrapolation.low < gained < judged.to_extrapolation.high
    assert judged.to_champion.low == pytest.approx((gain + 20) / 100)  # it has the same wobble
    assert judged.evidence()["metric"] == "CRPS"


def test_the_card_of_a_network_that_gives_probabilities_says_what_they_are_worth() -> None:
    shape = {"cell": "scs", "widths": [8], "kernel": 3, "downsample": 1, "leads": 2}
    about = {"method": "network", "name": "scs", "inputs": 3, "network": shape, "rates": [1.0, 2.0]} | {
        "field": "median"
    }
    skill = {"brier_skill_2mm_60min": 0.25}
    of = (ModelDescription.model_validate(about), tables(scs=10), probabilities(scs=-10), skill)
    card = model_card("scs", *of, windows="w", latency="l", tags={}, metrics={})
    mean = LEVEL[:8].mean() / 100
    assert card.startswith("Network of scs cells, scs: probabilities of 2 rain rates for 2 steps from 3 frames.\n")
    for said in (
        f"- mean CSI [95 %]: {mean + 0.1:.3f} [",
        "- mean CSI minus extrapolation's [95 %]: +0.100 [",
        f"- CRPS [95 %]: {mean - 0.1:.4f} [",
        "- CRPS minus extrapolation's [95 %], less is better: -0.1000 [",
        "- brier_skill_2mm_60min 0.2500",
        "- gives probabilities of a rain rate of at least 1, 2 mm/h, and of no other",
        "- the rain field that it gives with them: median",
        "- probabilities calibrated on windows of their validation split",
        "at other rain rates than 1, 2 mm/h, nobody has scored it",
    ):
        assert said in card
    assert "too few to tell skill" not in card


def test_of_networks_of_both_kinds_the_best_one_that_gives_probabilities_is_the_challenger(params: Params) -> None:
    of = probabilities(scs=5, convlstm=-20)
    of["convlstm"]["spread"] = 0.0  # a field's 0 and 1
    choose(WINDOWS, tables(scs=0, convlstm=20), versions(), params=params, probabilities=of)
    assert RADAR.find_alias("challenger") == versions()["scs"]
    assert champion() == "1"


def test_without_probabilities_of_extrapolation_nothing_is_decided(params: Params) -> None:
    of = probabilities(scs=-10)
    del of["extrapolation"]
    with pytest.raises(UserError, match=r"^no probabilities of extrapolation, .*: evaluate it again$"):
        choose(WINDOWS, tables(scs=10), versions(), params=params, probabilities=of)
    assert champion() is None


def test_the_decision_is_kept_with_its_numbers(params: Params) -> None:
    choose(WINDOWS, tables(scs=10), versions(), params=params)
    (run, _) = mlflow.search_runs(
        experiment_names=[decisions.experiment_of(RADAR)], order_by=["attributes.start_time DESC"], output_format="list"
    )
    (file,) = Path(
        mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/{decisions.EVIDENCE}")
    ).parent.iterdir()
    kept = json.loads(file.read_text())
    assert (kept["before"], kept["champion"], kept["challenger_version"]) == ("1", "2", "2")
    assert kept["windows_sha256"] == hashlib.sha256(b"windows").hexdigest()
    judged = kept["judgement"]
    assert judged["challenger"] == pytest.approx(LEVEL[:8].mean() / 100 + 0.10)
    assert judged["to_extrapolation"]["low"] > 0
    assert (judged["blocks"], judged["min_blocks"]) == (8, 8)
    assert kept["code_commit"]


def test_to_beat_the_champion_alone_is_not_enough(params: Params) -> None:
    promote(f"models:/{NAME}/3", "a bad champion")
    choose(WINDOWS, tables(scs=0, convlstm=-20), versions(), params=params)
    assert champion() == "3"
    assert story()[-1] == ("gate", "3")
    assert "no difference shown to extrapolation" in decisions.read_decisions(RADAR)[-1].words


def test_to_beat_extrapolation_alone_is_not_enough(params: Params) -> None:
    promote(f"models:/{NAME}/3", "a good champion")
    of = tables(scs=10)
    of["convlstm"] = table(LEVEL[:8] + 9.9 + np.resize([-1, 1], 8))  # as good but for a tenth, elsewhere
    choose(WINDOWS, of, versions(), params=params)
    assert RADAR.find_alias("challenger") == versions()["scs"]
    assert champion() == "3"


@pytest.mark.parametrize("scs", [0, -5])
def test_a_tie_or_a_loss_changes_nothing(params: Params, scs: float) -> None:
    choose(WINDOWS, tables(scs=scs, blocks=10), versions(), params=params)
    assert champion() == "1"


def test_dry_events_decide_nothing(params: Params) -> None:
    dry = {name: sums.assign(hits=0, misses=0) for name, sums in tables(scs=10).items()}
    choose(WINDOWS, dry, versions(), params=params)
    assert champion() == "1"


def test_again_on_the_same_adds_no_entry_and_leaves_a_hand_s_rollback(params: Params) -> None:
    of = tables(scs=10)
    for _ in range(2):
        choose(WINDOWS, of, versions(), params=params)
    assert story() == [("first", "1"), ("gate", "2")]
    assert rollback() == "1"
    choose(WINDOWS, of, versions(), params=params)  # decided before; a hand has overruled it
    assert story() == [("first", "1"), ("gate", "2"), ("rollback", "1")]
    assert champion() == "1"
    choose(WINDOWS, tables(scs=11), versions(), params=params)  # other scores: a new decision
    assert champion() == "2"


def test_the_decisions_say_who_was_champion_from_when_to_when(params: Params) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    choose(WINDOWS, tables(scs=0), versions(), params=params)  # 1 stays: one reign, two entries
    promote(f"models:/{NAME}/3", "the   storm\nof June")
    rollback()
    first, second, third = decisions.champion_periods(decisions.read_decisions(RADAR))
    assert [reign.version for reign in (first, second, third)] == ["1", "3", "1"]
    assert began <= first.since < second.since < third.since <= datetime.now(UTC)
    assert (first.until, second.until, third.until) == (second.since, third.since, None)
    assert second.words == "the storm of June"
    assert "3" in third.words


def test_each_rollback_goes_one_further_back(params: Params) -> None:
    choose(WINDOWS, tables(scs=0), versions(), params=params)
    for number in "23":
        promote(f"models:/{NAME}/{number}", "why not")
    assert [rollback(), rollback(), champion()] == ["2", "1", "1"]
    before = story()
    with pytest.raises(UserError, match="no champion before the present one"):
        rollback()
    assert story() == before
    promote(f"models:/{NAME}/3", "and again")
    assert rollback() == "1"


def test_a_rollback_of_before_that_went_forth_again_counts_as_it_was() -> None:
    changes = [("1", "first"), ("2", "gate"), ("1", "rollback"), ("2", "rollback"), ("3", "promote"), ("2", "rollback")]
    now = datetime.now(UTC)
    periods = [decisions.ChampionPeriod(version, now, None, by, "") for version, by in changes]
    assert [period.version for period in decisions.not_taken_back(periods)] == ["1", "2"]


def test_by_hand_at_a_terminal(params: Params) -> None:
    def scs(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    choose(WINDOWS, tables(scs=0), versions(), params=params)
    assert scs("promote", f"models:/{NAME}/2", "--reason", "tried by hand") == "champion: version 2\n"
    assert champion() == "2"
    assert scs("rollback") == "champion: version 1\n"
    assert champion() == "1"
    lines = scs("champions").splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("version 2, ")
    assert lines[1].endswith("by promote: tried by hand")


@pytest.mark.parametrize(
    ("uri", "reason", "told"),
    [
        (f"models:/{NAME}/99", "why not", "no such model"),
        (f"models:/{NAME}@nobody", "why not", "no such model"),
        ("models:/action-recognition/1", "why not", "not a version of radar-nowcast"),
        ("2", "why not", "not a version of radar-nowcast"),
        (f"models:/{NAME}/1", "why not", "version 1 is the champion"),
        (f"models:/{NAME}/2", " ", "--reason: 1 to 1000 characters; got 0"),
        (f"models:/{NAME}/2", "x" * 1001, "--reason: 1 to 1000 characters; got 1001"),
    ],
)
def test_what_can_t_be_promoted_is_one_line_and_no_entry(params: Params, uri: str, reason: str, told: str) -> None:
    choose(WINDOWS, tables(scs=0), versions(), params=params)
    before = story()
    with pytest.raises(UserError, match=told) as error:
        promote(uri, reason)
    assert "\n" not in str(error.value)
    assert story() == before
    assert champion() == "1"


def test_no_rollback_before_the_first_champion_or_to_a_lost_version(params: Params) -> None:
    with pytest.raises(UserError, match="no champion before the present one"):
        rollback()
    choose(WINDOWS, tables(scs=0), versions(), params=params)
    with pytest.raises(UserError, match="no champion before the present one"):
        rollback()
    promote(f"models:/{NAME}/3", "why not")
    connect(NAME).delete_model_version(NAME, "1")
    with pytest.raises(UserError, match=f"models:/{NAME}/1: no such model"):
        rollback()
    assert champion() == "3"


def test_what_changed_since_it_was_registered_is_promoted_by_nobody(params: Params, template: Path) -> None:
    choose(WINDOWS, tables(scs=0), versions(), params=params)
    promote(f"models:/{NAME}/3", "while it was whole")
    before = story()
    kept = {name: template.parent / name / "data" / "model.json" for name in ("extrapolation", "scs")}
    try:
        for file in kept.values():
            file.write_text("another")
        refusal = f"^models:/{NAME}/[12]: changed since it was registered: its content is .{{12}}, not .{{12}}$"
        for by in (
            lambda: promote(f"models:/{NAME}/2", "why not"),
            rollback,
            lambda: choose(WINDOWS, tables(scs=10), versions(), params=params),
        ):
            with pytest.raises(UserError, match=refusal):
                by()
            assert (story(), champion()) == (before, "3")
    finally:
        for name, file in kept.items():
            file.write_text(name)
    assert rollback() == "1"


def test_a_champion_set_without_a_decision_is_recorded(params: Params) -> None:
    choose(WINDOWS, tables(scs=0), versions(), params=params)
    connect(NAME).set_registered_model_alias(NAME, "champion", "3")  # by a hand in MLflow's UI
    assert rollback() == "1"
    assert story()[-2:] == [("found", "3"), ("rollback", "1")]


@pytest.mark.parametrize("moved", [False, True])
def test_a_decision_that_was_cut_off_is_settled(params: Params, monkeypatch: pytest.MonkeyPatch, moved: bool) -> None:
    choose(WINDOWS, tables(scs=0), versions(), params=params)

    class Killed(BaseException): ...

    set_alias = RegisteredModel.set_alias

    def cut_off(model: RegisteredModel, alias: str, version: Version, reason: str) -> None:
        if alias != "champion":
            return set_alias(model, alias, version, reason)
        if moved:
            connect(NAME).set_registered_model_alias(NAME, alias, version.number)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RegisteredModel, "set_alias", cut_off)
        choose(WINDOWS, tables(scs=10), versions(), params=params)
    assert champion() == ("2" if moved else "1")
    for _ in range(2):
        choose(WINDOWS, tables(scs=10), versions(), params=params)
    assert champion() == "2"
    assert story() == [("first", "1"), ("gate", "1"), ("gate", "2")]
