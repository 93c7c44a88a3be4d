"""What a module runs, found without running it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.common import imports
from pipelines.common.imports import CODE, import_closure, libraries

Closure = Callable[[str, dict[str, str]], set[str]]


@pytest.fixture
def closure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Closure:
    """The closure of a module among files of code in a folder, each by its path."""

    def of(module: str, files: dict[str, str]) -> set[str]:
        for name, code in files.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
        return {path.relative_to(tmp_path).as_posix() for path in import_closure(module)}

    monkeypatch.setattr(imports, "CODE", tmp_path)
    imports.imported.cache_clear()
    imports._files.cache_clear()
    yield of
    imports.imported.cache_clear()
    imports._files.cache_clear()


@pytest.mark.parametrize(
    "code",
    [
        "import pipelines.b.c",
        "import pipelines.b.c as other",
        "from pipelines.b import c",
        "from pipelines.b.c import thing",
        "from .b import c",
        "from .b.c import thing",
        "def later():\n    if later:\n        from pipelines.b import c",
        "try:\n    import numpy\nexcept ImportError:\n    from pipelines.b import c",
        "class A:\n    from pipelines.b import c",
    ],
)
def test_every_kind_of_import_counts(closure: Closure, code: str) -> None:
    found = closure("pipelines.a", {"pipelines/a": code, "pipelines/b/c": "thing = 1", "pipelines/d": ""})
    assert found == {"pipelines/a.py", "pipelines/b/c.py"}


def test_packages_run_too_and_what_they_import(closure: Closure) -> None:
    files = {
        "pipelines/__init__": "",
        "pipelines/a": "from pipelines.b.c import thing",
        "pipelines/b/__init__": "from pipelines import d",
        "pipelines/b/c": "from pipelines import a",  # a circle
        "pipelines/d": "import os, numpy",
        "pipelines/e": "import pipelines.a",
    }
    assert closure("pipelines.a", files) == {f"{name}.py" for name in files} - {"pipelines/e.py"}


def test_what_is_no_import_of_a_module_of_ours_does_not_count(closure: Closure) -> None:
    code = "'pipelines.b'\nimport pipelines.b_, pipelinesb, numpy.linalg\nfrom . import gone"
    assert closure("pipelines.a", {"pipelines/a": code, "pipelines/b": ""}) == {"pipelines/a.py"}


@pytest.mark.parametrize("module", ["pipelines.nothing", "numpy", "pipelines.radar.ingest.nothing"])
def test_what_is_no_module_of_ours_has_none(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=module):
        import_closure(module)


def test_libraries_are_named_as_pypi_does_and_those_imported_late_are_among_them() -> None:
    late = {"pysteps", "safetensors", "torch"}
    assert {*libraries("pipelines.nowcast.pyfunc")} == late | {
        *("ruamel.yaml", "ruamel.yaml.clib"),
        *("dask", "filelock", "numpy", "opencv-python-headless", "pydantic", "pyproj", "zarr"),
    }


@pytest.mark.parametrize("module", ["pipelines.radar.ingest", "pipelines.video.ingest", "pipelines.nowcast.index"])
def test_it_holds_all_that_python_loads(module: str) -> None:
    code = f"import sys, {module}\nfor one in list(sys.modules.values()): print(getattr(one, '__file__', None))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CODE)
    loaded = {Path(line) for line in done.stdout.splitlines()}
    assert {path for path in loaded if path.is_relative_to(CODE)} <= set(import_closure(module)) | {
        path for path in loaded if "site-packages" in path.parts
    }
    assert CODE / "pipelines" / "params" / "read.py" in loaded
