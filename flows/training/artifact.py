"""What Prefect's UI shows of a training: what ran, the comparison, and which model is the champion."""

from collections.abc import Mapping
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from flows.training.dvc_stages import Stage, StageResult
from pipelines.common.markdown import literal, table_head, table_row

TABLE = Path("data/comparison/table.md")
DECIDES = "register"  # its lines say which model is the champion and why
SHOWN = ("champion: ", "decision: ")  # of its lines: who is champion, and since when and why


def show_training(stages: list[Stage], outcomes: Mapping[str, State]) -> None:
    """Make the artifact ``training``: the champion's decision, the comparison, and what came of each stage.

    Parameters
    ----------
    stages : list of Stage
        In DVC's order.
    outcomes : mapping of str to State
        How each stage ended that ran.
    """
    failed = [state.message or name for name, state in outcomes.items() if not state.is_completed()]
    decided = outcomes.get(DECIDES)
    lines = [f"**{len(failed)} stage(s) failed:** {literal('; '.join(failed))}", ""] if failed else []
    if decided and decided.is_completed():
        lines += [
            "## The champion",
            "",
            *(f"- {literal(line)}" for line in result_of(decided).lines if line.startswith(SHOWN)),
            "",
        ]
    else:
        lines += [f"`{DECIDES}` did not run: the champion stays.", ""]
    if TABLE.exists() and not failed:
        lines += ["## The comparison", "", TABLE.read_text(encoding="utf-8"), ""]
    lines += ["## The stages", "", *table_head("stage", "outcome")]
    lines += [table_row(s.name, str(outcomes[s.name].message) if s.name in outcomes else "not run") for s in stages]
    create_markdown_artifact("\n".join(lines), key="training", description="What the last training did and decided")


def result_of(outcome: State) -> StageResult:
    """Return the result of a stage that is completed."""
    result = outcome.result()
    assert isinstance(result, StageResult)
    return result
