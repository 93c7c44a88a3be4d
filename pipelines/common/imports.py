"""Which of our own files a module runs: what it imports, what that imports, and so on."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "scs_model", "flows")


def import_closure(*modules: str) -> list[Path]:
    """Return the files that importing ``modules`` and calling what is in them can run, sorted; of libraries none.

    Imports within functions and the packages' own files count too; a text that names a module doesn't, such as the
    loader that MLflow is told of: it is for those who load the model.

    Parameters
    ----------
    *modules : str
        Dotted names, such as ``pipelines.radar.ingest``.

    Raises
    ------
    ModuleNotFoundError
        If one isn't ours.
    """
    for name in modules:
        if not _files(name):
            raise ModuleNotFoundError(f"{name}: no such module in {CODE}")
    reached: set[Path] = set()
    waiting = list(modules)
    while waiting:
        for file in _files(waiting.pop()):
            if file not in reached:
                reached.add(file)
                waiting += imported(file)
    return sorted(reached)


def libraries(module: str) -> list[str]:
    """Return the distributions that the files of :func:`import_closure` import, by their names on PyPI, sorted."""
    packages = {name.partition(".")[0] for file in import_closure(module) for name in imported(file)}
    known = packages_distributions()
    return sorted({name for package in packages - {*PACKAGES} for name in known.get(package, [])})


@cache
def imported(file: Path) -> frozenset[str]:
    """Return the dotted names that a file imports, of modules and of what is taken from them, ours or not."""
    here = file.relative_to(CODE).with_suffix("").parts
    return frozenset(name for node in ast.walk(ast.parse(file.read_bytes(), file)) for name in _named(node, here))


def _named(node: ast.AST, here: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = here[: len(here) - node.level] if node.level else ()
        module = ".".join((*above, *filter(None, [node.module])))
        yield module
        yield from (f"{module}.{alias.name}" for alias in node.names)  # a module too, perhaps


@cache
def _files(name: str) -> tuple[Path, ...]:
    """Files that run when a module is imported: those of the packages that it is in, and its own; none if not ours."""
    parts = name.split(".")
    if parts[0] not in PACKAGES or not all(part.isidentifier() for part in parts):
        return ()
    path = CODE.joinpath(*parts)
    own = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not own.is_file():
        return ()
    packages = (CODE.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts)))
    return *filter(Path.is_file, packages), own
