"""Values as a script: a page that is opened from disk may load scripts, and no other files."""

import json
from typing import Any


def script(name: str, value: Any) -> str:
    r"""Return a script that hands a value to the page under a name: ``scs.give("NAME", VALUE)``.

    It is ASCII, and has no ``<``: whatever a text in it says, it ends no string, no line and no element.

    Raises
    ------
    ValueError
        If a number isn't finite.
    """
    given = ", ".join(json.dumps(one, allow_nan=False).replace("<", r"\u003c") for one in (name, value))
    return f"scs.give({given});\n"


def finite(value: float, digits: int) -> float | None:
    """Return a number with so many digits after the point; None, which the page knows, if it isn't finite."""
    rounded = round(float(value), digits)
    return rounded if abs(rounded) < float("inf") else None
