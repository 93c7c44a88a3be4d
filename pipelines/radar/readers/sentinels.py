"""Numbers that stand for something else than a value: no data, no echo."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def equals(raw: NDArray[Any], sentinel: Any) -> NDArray[np.bool_]:
    """Return where pixels, as they are stored, are the number ``sentinel``; to the digits of the narrower of both.

    -9999.9 in 64 bits is no number of 32 bits, and a file may say it in one width and hold it in the other.
    """
    if raw.dtype.kind != "f":
        return raw == sentinel
    kind = min(raw.dtype, sentinel.dtype) if isinstance(sentinel, np.floating) else raw.dtype
    with np.errstate(over="ignore"):
        return raw.astype(kind, copy=False) == kind.type(sentinel)
