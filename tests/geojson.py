"""GeoJSON files for tests."""

import json
from pathlib import Path
from typing import Any


def feature(name: object, *rings: list[list[float]], kind: str = "Polygon", **more: object) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"name": name}, "geometry": {"type": kind, "coordinates": rings}} | more


def box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def written(path: Path, *features: object, **more: object) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features} | more))
    return path
