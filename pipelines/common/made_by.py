"""Which code and settings decoded what is kept from one ingestion to the next."""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path


def made_by(settings: str, code: Sequence[str], libraries: Sequence[str]) -> str:
    """Return a hex digest: what was decoded under another isn't used.

    Parameters
    ----------
    settings : str
    code : sequence of str
        Modules of pipelines, as patterns of paths without ``.py``.
    libraries : sequence of str
        Distributions, whose versions count.
    """
    digest = hashlib.sha256(settings.encode())
    here = Path(__file__).parents[1]
    for path in sorted(path for name in code for path in here.glob(f"{name}.py")):
        digest.update(path.read_bytes())
    for name in libraries:
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    return digest.hexdigest()
