"""What a command says to a machine: with ``--json``, one JSON document on standard output and nothing else there."""

import json
from typing import Annotated, Any

import typer

JSON = Annotated[bool, typer.Option("--json", help="for a machine: one JSON document")]


def print_json(found: Any) -> None:
    """Print what was found: numbers that aren't finite as null, times and paths as text."""
    import numpy as np  # here: `scs --help` needs none

    text = json.dumps(found, default=lambda one: one.item() if isinstance(one, np.number) else str(one))
    plain = json.loads(text, parse_constant=lambda _: None)  # JSON has no NaN, and a default isn't asked for one
    print(json.dumps(plain, ensure_ascii=False, allow_nan=False))
