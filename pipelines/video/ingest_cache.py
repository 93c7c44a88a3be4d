"""What earlier runs of ingestion found out about each video."""

from dataclasses import asdict
from typing import Any

from pipelines.common.ingest_cache import IngestCache
from pipelines.video.decode import Decoded


class ClipCache(IngestCache[Decoded]):
    """What became of videos, or of parts of them; see `pipelines.common.ingest_cache`."""

    def to_json(self, record: Decoded) -> dict[str, Any]:
        """Return its fields."""
        return asdict(record)

    def from_json(self, plain: dict[str, Any]) -> Decoded:
        """Return it from its fields."""
        return Decoded(**plain)
