"""A domain for tests, as params.yaml has it."""

from pathlib import Path
from typing import Any

from pipelines.params.operation import Domain
from pipelines.params.read import read_params

SIMULATED = read_params(Path(__file__).parents[1] / "params.yaml").domains["simulated"]


def domain_in(folder: Path, **changes: Any) -> Domain:
    """Return a domain ``here`` whose folders lie in ``folder``, with other values as given."""
    folders = {key: folder / key for key in ("inbox", "store", "out", "archive")}
    return SIMULATED.model_copy(update={"name": "here"} | folders | changes)
