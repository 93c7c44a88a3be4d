"""Packed numbers of netCDF, Zarr and GeoTIFF as what they stand for, and every way to say that there is no data.

CF conventions 2.5.1 and 8.1, and the attribute conventions of the netCDF users' guide.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.params.radar import FileHints
from pipelines.radar.readers.hints import contradiction

FILLS = ("_FillValue", "missing_value", "nodata")  # the last is GDAL's
ABSURD = 1e30  # more is a default fill value of some library
SAME = 1e-6  # share by which a sentinel may differ from itself in another float width


def unpack(raw: NDArray[Any], attributes: Mapping[str, Any], hints: FileHints) -> NDArray[np.float64]:
    """Return the values of stored numbers, NaN where there is no data.

    Parameters
    ----------
    raw : ndarray
        As stored.
    attributes : mapping
        ``scale_factor``, ``add_offset``, ``_FillValue``, ``missing_value``, ``nodata``, ``valid_range``, ``valid_min``,
        ``valid_max``, ``_Unsigned``: numbers of any type, lists of them, or text. A limit that is no integer is of
        unpacked values where integers are packed, else of stored ones.
    hints : FileHints
        Its ``nodata`` counts where the file has no number for no data.

    Raises
    ------
    ValueError
        If one of them isn't made of numbers, or file and user say different things.
    """
    stored = _signed_as_said(raw, attributes)
    scale, offset = (_one(attributes, name) for name in ("scale_factor", "add_offset"))
    packed = scale is not None or offset is not None
    values = stored.astype(np.float64)
    if packed:
        values = values * (1.0 if scale is None else scale) + (offset or 0.0)
    absent = ~np.isfinite(values) | (np.abs(values) > ABSURD)
    for sentinel in _sentinels(raw, attributes, hints):
        absent |= equal(stored, values, sentinel)
    low, high = _limits(attributes, "valid_range") or (None, None)
    for name, number, beyond in (
        ("valid_range", low, np.less),
        ("valid_range", high, np.greater),
        *(("valid_min", one, np.less) for one in numbers(attributes, "valid_min")),
        *(("valid_max", one, np.greater) for one in numbers(attributes, "valid_max")),
    ):
        if number is not None:
            number = _unsigned(number, raw, attributes)
            of_values = packed and stored.dtype.kind in "iu" and not _is_integer(attributes[name])
            compared: NDArray[Any] = values if of_values else stored
            absent |= beyond(compared, number) & ~np.isclose(compared, number, rtol=SAME, atol=0)
    values[absent] = np.nan
    return values


def _sentinels(raw: NDArray[Any], attributes: Mapping[str, Any], hints: FileHints) -> list[float]:
    """Return the numbers for no data, by the file or else by the user."""
    of_file = [number for name in FILLS for number in numbers(attributes, name)]
    finite = [number for number in of_file if np.isfinite(number)]
    if hints.nodata is None:
        return [_unsigned(number, raw, attributes) for number in finite]
    return agreed_nodata(finite, hints)


def agreed_nodata(of_file: list[float], hints: FileHints) -> list[float]:
    """Return the numbers for no data that the file says, or else the user; raises ValueError if the two contradict."""
    if hints.nodata is None:
        return of_file
    of_user = hints.nodata if isinstance(hints.nodata, list) else [hints.nodata]
    if of_file and set(of_user) - set(of_file):
        raise contradiction("nodata", of_user, of_file)
    return of_user


def equal(stored: NDArray[Any], values: NDArray[np.float64], number: float) -> NDArray[np.bool_]:
    """Return where pixels are a sentinel, in whatever width of float it is given."""
    if stored.dtype.kind == "f":
        with np.errstate(over="ignore"):
            in_their_width = stored == stored.dtype.type(number)
        return in_their_width | np.isclose(stored.astype(np.float64), number, rtol=SAME, atol=0)
    limits = np.iinfo(stored.dtype)
    if np.isfinite(number) and number == int(number) and limits.min <= number <= limits.max:
        return stored == stored.dtype.type(int(number))
    # No number that can be stored: it is meant of the values.
    return np.isclose(values, number, rtol=SAME, atol=0)


def numbers(attributes: Mapping[str, Any], name: str) -> list[float]:
    """Return the numbers of an attribute, none where it isn't there; a ValueError if it is made of something else."""
    value = attributes.get(name)
    if value is None:
        return []
    try:
        if isinstance(value, bytes):
            value = value.decode("ascii")
        if isinstance(value, str):
            value = value.replace(",", " ").strip("[](){} ").split()
        return [float(one) for one in np.ravel(np.asarray(value))]
    except ValueError:
        raise ValueError(f"{name} is {attributes[name]!r}, not numbers") from None


def _limits(attributes: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    found = numbers(attributes, name)
    if found and len(found) != 2:
        raise ValueError(f"{name} is {attributes[name]!r}, not two numbers")
    return (found[0], found[1]) if found else None


def _one(attributes: Mapping[str, Any], name: str) -> float | None:
    found = numbers(attributes, name)
    if name in attributes and len(found) != 1:
        raise ValueError(f"{name} is {attributes[name]!r}, not a number")
    return found[0] if found else None


def _is_integer(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return not set(value if isinstance(value, str) else value.decode("ascii")) & set(".eE")
    return np.asarray(value).dtype.kind in "iu"


def _signed_as_said(raw: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[Any]:
    """Return integers as signed or not as ``_Unsigned`` says: netCDF's classic format knows signed ones alone."""
    word = str(attributes.get("_Unsigned", "")).lower()
    if raw.dtype.kind == "i" and word == "true":
        return raw.view(raw.dtype.str.replace("i", "u"))
    if raw.dtype.kind == "u" and word == "false":
        return raw.view(raw.dtype.str.replace("u", "i"))
    return raw


def _unsigned(number: float, raw: NDArray[Any], attributes: Mapping[str, Any]) -> float:
    """Return a number of the stored, signed type as the unsigned one that ``_Unsigned`` makes of it."""
    turned = _signed_as_said(raw, attributes).dtype.kind == "u" and raw.dtype.kind == "i"
    return number + 2.0 ** (8 * raw.dtype.itemsize) if turned and number < 0 else number
