"""The version of a format of ours on disk, a store's or a ledger's: newer code reads older files, not the reverse."""

import re

from pipelines.common.errors import UserError

FORMAT_VERSION = "scs_format_version"  # the attribute; where it is absent the version is 1


def check_format(found: object, known: int, name: object) -> None:
    """Refuse a file of a newer format than the code knows; raises UserError if it is newer, or no version.

    Parameters
    ----------
    found : object
        Value of the attribute `FORMAT_VERSION`, None where there is none.
    known : int
        The newest version that can be read.
    name : object
        Of the file or folder, for the message.
    """
    text = "1" if found is None else found.decode(errors="replace") if isinstance(found, bytes) else str(found)
    version = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
    if version < 1:
        raise UserError(f"{name}: {FORMAT_VERSION} is {text[:40]!r}, which is no version of a format")
    if version > known:
        raise UserError(f"{name}: it is of format {version}, and this scs-nowcast knows up to {known}: use a newer one")
