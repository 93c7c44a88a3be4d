"""Units as files spell them, by the rules of UDUNITS, which CF refers to."""

from functools import lru_cache
from typing import Any, Literal

Unit = Literal["dBZ", "mm", "mm/h"]
# What precipitation may be in, and what one of it is in the unit of a header: water weighs 1 kg a mm and m².
PRECIPITATION: dict[str, tuple[Unit, float]] = {
    "m": ("mm", 1000.0),
    "kg m-2": ("mm", 1.0),
    "m s-1": ("mm/h", 3_600_000.0),
    "kg m-2 s-1": ("mm/h", 3600.0),
}
PLAIN = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹·⋅−", "-0123456789..-")  # UDUNITS reads them only in ASCII
DECIBELS = ("dbz", "db")  # UDUNITS has no other spelling than dBZ


@lru_cache(maxsize=64)
def data_unit(words: str) -> tuple[Unit, float]:
    """Return the header's unit for pixels in ``words``, and the factor to it.

    Raises
    ------
    ValueError
        If it is a unit of neither reflectivity nor precipitation.
    """
    if words.strip("[] ").lower() in DECIBELS:
        return "dBZ", 1.0
    for base, (unit, factor) in PRECIPITATION.items():
        if (found := _factor(words, base)) is not None:
            return unit, float(f"{found * factor:.12g}")  # 1 is 1: rounding errors are of no matter
    raise ValueError(f"unit {words!r}, neither dBZ nor one that is a multiple of {', '.join(PRECIPITATION)}")


def agreed_unit(file: str | None, user: str | None) -> tuple[Unit, float]:
    """Return :func:`data_unit` of what the file says, or else the user; a ValueError if none, or they differ."""
    if file is None and user is None:
        raise ValueError("no unit in the file, and no `unit` for it in params.yaml")
    found = data_unit(file or user or "")
    if user is not None and data_unit(user) != found:
        raise ValueError(f"unit: params.yaml says {user}, and the file {file}")
    return found


@lru_cache(maxsize=64)
def axis_unit(words: str) -> tuple[Literal["m", "degree"], float]:
    """Return whether a unit is of lengths or angles, and the factor to metres or degrees; a ValueError if neither."""
    bases: tuple[Literal["m", "degree"], ...] = ("m", "degree")
    for base in bases:
        # 1 is an angle to UDUNITS, and to a file no unit.
        if words.strip() not in ("", "1") and (found := _factor(words, base)) is not None:
            return base, float(f"{found:.12g}")
    raise ValueError(f"unit {words!r}, neither a length nor an angle")


def seconds(words: str) -> float:
    """Return how many seconds a unit of time is; a ValueError if it is none."""
    if (found := _factor(words, "s")) is None:
        raise ValueError(f"unit {words!r}, not one of time")
    return found


def _factor(words: str, base: str) -> float | None:
    """Return how much of ``base`` one of ``words`` is; None if it is something else, or has another zero."""
    unit, to = (_parsed(one) for one in (words.strip("[] "), base))
    if unit is None or not unit.is_convertible(to) or unit.convert(0.0, to) != 0:
        return None
    return float(unit.convert(1.0, to))


def _parsed(words: str) -> Any:
    import cf_units  # half a second, that most formats needn't wait for

    try:
        return cf_units.Unit(words.translate(PLAIN))
    except ValueError:
        return None
