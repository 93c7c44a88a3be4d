"""What needs an extra that isn't installed says so in one line that names it.

A library that nobody has installed is looked up among the extras of this distribution: no module has to ask.
"""

import importlib.metadata
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from pipelines.common.errors import UserError

OURS = ("pipelines", "flows")
DISTRIBUTION = "scs-nowcast"
OF_MODULE = {"sklearn": "scikit-learn"}  # distributions that aren't called as their modules are


class NotInstalled(UserError, ModuleNotFoundError):  # noqa: N818 - a condition of the installation
    """A library of an extra that isn't installed."""


def extra_of(module: str) -> str | None:
    """Return the extra that a top-level module is installed by, None where there is none."""
    wanted = OF_MODULE.get(module, module.replace("_", "-")).lower()
    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        of_extra = re.fullmatch(r"([\w.-]+).*;.*extra == ['\"]([\w-]+)['\"].*", line)
        if of_extra and of_extra[1].lower() == wanted:
            return of_extra[2]
    return None


class MissingExtras:
    """A finder of modules that finds none, and raises `NotInstalled` where code of ours wants one of an extra.

    Where others look whether a library is there, as xarray does, it answers that it isn't.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing; in a program of ours (``python -m``), which has no more to do, end it with the line."""
        if path is not None or _importer().partition(".")[0] not in OURS:
            return None
        try:
            extra = extra_of(name)
        except importlib.metadata.PackageNotFoundError:
            return None
        if extra is None:
            return None
        line = f"{name} isn't installed: pip install '{DISTRIBUTION}[{extra}]'"
        program = getattr(sys.modules["__main__"], "__spec__", None)
        if program and program.name.partition(".")[0] in OURS:
            sys.exit(f"error: {line}")
        raise NotInstalled(line)


def _importer() -> str:
    """Return the name of the module whose code imports."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "importlib":
        frame = frame.f_back
    name: str = frame.f_globals.get("__name__", "")
    spec = frame.f_globals.get("__spec__")
    return spec.name if name == "__main__" and spec else name
