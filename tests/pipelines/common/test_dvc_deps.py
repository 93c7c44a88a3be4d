"""What dvc.yaml says that a stage depends on is what it runs."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

from pipelines.common import dvc_deps
from pipelines.common.dvc_deps import code_paths, main, with_code_deps
from pipelines.common.errors import UserError
from pipelines.common.imports import CODE, import_closure


def test_dvc_yaml_has_the_import_closure_of_each_stage() -> None:
    text = (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")
    assert with_code_deps(text) == text, "run `make deps`"


def test_each_stage_has_its_data_and_all_files_of_its_closure_and_no_other() -> None:
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        stage = stage.get("do", stage)
        module = stage["cmd"].split("python -m ")[1].split()[0]
        code = [CODE / path for path in stage["deps"] if path.startswith(("pipelines/", "scs_model", "flows"))]
        files = [file for path in code for file in (path.rglob("*.py") if path.is_dir() else [path])]
        assert sorted(files) == import_closure(module)


# The reason for all this: an edit of the grid left a stale store, and one of a map's colours, a baseline or a table
# must neither ingest nor train anew.
@pytest.mark.parametrize(
    ("module", "needs", "others"),
    [
        (
            "pipelines.radar.ingest",
            "radar/grid radar/frame radar/readers/odim common/workers",
            "radar/maps nowcast tracking",
        ),
        (
            "pipelines.nowcast.train",
            "radar/store nowcast/loss training/fit verification/blocks",
            "nowcast/methods/steps verification/bootstrap verification/scoring operation",
        ),
        ("pipelines.action.train", "video/clips training/fit", "video/decode radar nowcast verification"),
        ("pipelines.action.compare", "action/scores training/results", "action/recognizer training/fit video"),
        ("pipelines.driving.ingest", "driving/comma_ai driving/tub", "driving/steering driving/camera training"),
        (
            "pipelines.driving.train",
            "driving/drives training/fit",
            "driving/ingest driving/figures video/decode action",
        ),
    ],
)
def test_stages_depend_on_what_they_run_and_on_nothing_else(module: str, needs: str, others: str) -> None:
    files = import_closure(module)
    for path in needs.split():
        assert CODE / f"pipelines/{path}.py" in files
    for path in others.split():
        there = CODE / "pipelines" / path
        assert there.is_dir() or there.with_suffix(".py").is_file()
        assert not [file for file in files if file.with_suffix("").is_relative_to(there)]


STAGES = """# At the top.
stages:
  ingest:
    foreach: ${sources} # of params.yaml
    do:
      desc: Long text, {as} it is
      cmd: >-
        python -m pipelines.radar.grid ${key} data/zarr/${key}.zarr
        data/quality.csv
      deps:
        - ${item}
        # Why this one.
        - data/extra
        - pipelines/gone.py
        - scs_model
      params: [a, b.c]

  other:
    cmd: echo python
    deps: [data/zarr]
  none:
    cmd: python -m pipelines.common.errors
    outs: [here] # At the end.
"""


def test_all_else_in_dvc_yaml_stays(tmp_path: Path) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text(STAGES)
    main(path)
    grid = code_paths(set(import_closure("pipelines.radar.grid")))
    deps = "".join(f"        - {path}\n" for path in grid)
    expected = STAGES.replace("        - pipelines/gone.py\n        - scs_model\n", deps)
    errors = code_paths(set(import_closure("pipelines.common.errors")))
    expected += "    deps:\n" + "".join(f"      - {path}\n" for path in errors)
    assert "pipelines/radar/grid.py" in grid
    assert path.read_text() == expected
    again = path.stat()
    main(path)
    assert path.stat() == again  # not written again


def test_what_python_keeps_beside_the_code_changes_no_folder_for_dvc() -> None:
    names = ["pipelines/params/__pycache__/read.cpython-311.pyc", "pipelines/params/read.py"]
    command = [sys.executable, "-m", "dvc", "check-ignore", *names]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == names[:1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<<<<<<< HEAD\na: b\n=======\n", "mapping values"),
        ("stages: {a: {cmd: python -m pipelines.gone}}", "pipelines.gone"),
    ],
)
def test_what_is_wrong_with_dvc_yaml_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"^{path}: .*{words}") as refused:
        main(path)
    assert "\n" not in str(refused.value)
    assert path.read_text() == text


def test_a_folder_stands_for_its_files_where_it_has_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc_deps, "CODE", tmp_path)
    files = set()
    for name in ("a/b/one.py", "a/b/two.py", "a/b/c/three.py", "a/d/four.py", "a/five.py", "a/six.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        files.add(path)
    (tmp_path / "a" / "b" / "__pycache__").mkdir()
    (tmp_path / "a" / "b" / "__pycache__" / "one.pyc").touch()
    assert code_paths(files) == ["a"]
    assert code_paths(files - {tmp_path / "a" / "six.txt"}) == ["a/b", "a/d", "a/five.py"]
    assert code_paths(files - {tmp_path / "a/b/two.py"}) == ["a/b/c", "a/b/one.py", "a/d", "a/five.py", "a/six.txt"]
    assert code_paths({tmp_path / "a/d/four.py"}) == ["a/d"]
