"""Writes into dvc.yaml which code each stage runs: ``python -m pipelines.common.dvc_deps``, or ``make deps``.

Data that a stage depends on are named by hand, and stay first.
"""

import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import YAMLError

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import write_text
from pipelines.common.imports import CODE, PACKAGES, import_closure
from pipelines.common.stage import run


def with_code_deps(dvc_yaml: str) -> str:
    """Return the text of a dvc.yaml in which ``deps`` of code are the import closure of each stage's module."""
    return replace_code_deps(dvc_yaml, lambda module: code_paths(set(import_closure(module))))


def replace_code_deps(dvc_yaml: str, deps_of: Callable[[str], list[str]]) -> str:
    """Return the text of a dvc.yaml in which ``deps`` of code are what ``deps_of`` returns for each stage's module."""
    yaml = YAML()
    yaml.width = 1000  # what is broken into lines by hand stays so
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(dvc_yaml)
    for stage in content["stages"].values():
        stage = stage.get("do", stage)
        if module := re.match(r"python -m (\S+)", stage["cmd"]):
            deps = stage.setdefault("deps", CommentedSeq())
            after = deps.ca.items.pop(len(deps) - 1, None)  # comments and empty lines
            for i in reversed(range(len(deps))):
                if Path(deps[i]).parts[0] in PACKAGES:
                    del deps[i]
            deps.extend(deps_of(module[1]))
            if after:
                deps.ca.items[len(deps) - 1] = after
    written = StringIO()
    yaml.dump(content, written)
    return written.getvalue()


def code_paths(files: set[Path]) -> list[str]:
    """Return paths from the repository's top that have ``files`` in them and nothing else: folders where possible."""
    return sorted({_largest(file, files).relative_to(CODE).as_posix() for file in files})


def _largest(file: Path, files: set[Path]) -> Path:
    """Return the outermost folder of a file that has no other than ``files`` below it, or the file."""
    for folder in reversed(file.relative_to(CODE).parents[:-1]):
        below = (one for one in (CODE / folder).rglob("*") if one.is_file() and "__pycache__" not in one.parts)
        if files.issuperset(below):
            return CODE / folder
    return file


def main(dvc_yaml: Path = Path("dvc.yaml")) -> None:
    """Write the deps of code into DVC_YAML."""
    before = dvc_yaml.read_text(encoding="utf-8")
    try:
        after = with_code_deps(before)
    except (YAMLError, ModuleNotFoundError, SyntaxError) as error:  # as of a merge that isn't resolved yet
        raise UserError(f"{dvc_yaml}: {in_short(error)}") from None
    if after != before:
        write_text(dvc_yaml, after)


if __name__ == "__main__":
    run(main)
