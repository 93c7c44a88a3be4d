"""Under which licence data are, and whom it wants named: kept from archive to store, model and product."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

UNKNOWN = "LicenseRef-scancode-unknown"  # SPDX' way to say that nobody has named one
# What SPDX identifiers say in their parts: CC-BY-NC-ND-4.0, PolyForm-Noncommercial-1.0.0, NCGL-UK-2.0. Any of an
# expression may: CC-BY-4.0 AND LicenseRef-scancode-unknown.
RESTRICTIONS = {
    "licence unknown: ask whose data they are": r"^\s*(none)?\s*$|(^|[^a-z])(unknown|not stated|noassertion)([^a-z]|$)",
    "not for commercial use": r"(^|[^a-z])(nc|ncgl|non-?commercial)([^a-z]|$)",
    "what is made of them may not be given to others": r"(^|[^a-z])(nd|no-?derivatives)([^a-z]|$)",
}


class Rights(NamedTuple):
    """A licence, an SPDX expression, and the attribution that it wants, if any."""

    license: str = UNKNOWN
    attribution: str | None = None

    @classmethod
    def of(cls, attrs: Mapping[Any, Any]) -> Self:
        """Return those that a dataset's attributes say."""
        attribution = attrs.get("attribution")
        return cls(str(attrs.get("license", UNKNOWN)), None if attribution in (None, "none") else str(attribution))

    def to_attrs(self) -> dict[str, str]:
        """Return them as a dataset's attributes."""
        return {"license": self.license} | ({"attribution": self.attribution} if self.attribution else {})

    @property
    def restrictions(self) -> list[str]:
        """What one has to know before one gives data, or what is made of them, to others; empty if nothing."""
        return [words for words, mark in RESTRICTIONS.items() if re.search(mark, self.license.lower())]


def attributions(of: Iterable[Rights]) -> str | None:
    """Return all attributions, each once; None where none is wanted."""
    return "; ".join(dict.fromkeys(one.attribution for one in of if one.attribution)) or None
