"""What a command says to a machine: with ``--json``, one JSON document on standard output and nothing else there."""

import json
from datetime import datetime
from typing import Annotated, Any

import typer

JSON = Annotated[bool, typer.Option("--json", help="for a machine: one JSON document")]


def print_json(found: Any) -> None:
    """Print what was found: numbers that aren't finite as null, times (ISO 8601) and paths as text, in ASCII."""
    text = json.dumps(found, default=_plain)
    plain = json.loads(text, parse_constant=lambda _: None)  # JSON has no NaN, and a default isn't asked for one
    print(json.dumps(plain, allow_nan=False))  # in ASCII: whatever a terminal or a file's name is encoded in


def _plain(one: Any) -> Any:
    import numpy as np  # here: `scs --help` needs none

    if isinstance(one, np.number | np.bool_):
        return one.item()
    return one.isoformat() if isinstance(one, datetime) else str(one)
