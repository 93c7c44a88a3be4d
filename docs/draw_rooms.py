"""Draws docs/pictures/rooms.svg, the rooms and who imports whom, from the code: ``python -m docs.draw_rooms``."""

from pathlib import Path

from pipelines.common.imports import CODE, imported

PICTURE = CODE / "docs/pictures/rooms.svg"
ROOMS = {  # from left to right where they stand on one floor
    "cli": "the command scs",
    "flows": "when and where it runs: Prefect",
    "operation": "from the inbox to what is published",
    "nowcast": "forecast rain from radar",
    "action": "recognise actions in video",
    "driving": "the wheel's angle from a camera",
    "outline": "outline objects in images",
    "verification": "scores, intervals, tables",
    "video": "video files into a store of clips",
    "images": "outlined images into a store of crops",
    "training": "a training, whatever the task",
    "project": "a team's own pipeline, laid out",
    "fetch": "archives elsewhere into a folder",
    "radar": "radar files into a store of frames",
    "scs_model": "the science: layers, switch, networks",
    "params": "params.yaml: types, units, bounds",
    "tracking": "runs, versions, champions: MLflow",
    "common": "files, errors, provenance, workers",
}
WIDTH, HEIGHT, GAP, FLOOR = 210, 46, 16, 96  # pixels: of a room, between two, from floor to floor


def room(module: str) -> str | None:
    """Return the room of a module by its dotted name: a folder of pipelines, or another package; none if not ours."""
    package, *parts = module.split(".")
    return (parts[0] if parts else None) if package == "pipelines" else package if package in ROOMS else None


def arrows() -> dict[str, set[str]]:
    """Return for each room the rooms from which it imports; the loaders of old versions in tracking left out."""
    found: dict[str, set[str]] = {name: set() for name in ROOMS}
    for package in ("pipelines", "flows", "scs_model"):
        for file in (CODE / package).rglob("*.py"):
            here = room(".".join(file.relative_to(CODE).with_suffix("").parts))
            if here in ROOMS and not file.match("tracking/pyfunc*.py"):
                found[here] |= {there for name in imported(file) if (there := room(name)) in ROOMS and there != here}
    return found


def reached(of: str, graph: dict[str, set[str]]) -> set[str]:
    """Return all rooms below one."""
    return graph[of].union(*(reached(below, graph) for below in graph[of]))


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """Return the floor of each room: the lowest that is above all from which it imports, and that of no other 0."""
    height = dict.fromkeys(graph, 0)
    for name in sorted(graph, key=lambda one: len(reached(one, graph))):
        height[name] = max([height[below] + 1 for below in graph[name]], default=int(name != "common"))
    return height


def svg() -> str:
    """Return the picture. An arrow that follows from others isn't drawn."""
    graph = arrows()
    height = floors(graph)
    on_floor = {level: [name for name in ROOMS if height[name] == level] for level in set(height.values())}
    width = max(map(len, on_floor.values())) * (WIDTH + GAP) + GAP
    place = {}
    for level, names in on_floor.items():
        left = (width - len(names) * (WIDTH + GAP) + GAP) / 2
        for i, name in enumerate(names):
            place[name] = left + i * (WIDTH + GAP) + WIDTH / 2, GAP + (max(on_floor) - level) * FLOOR
    shapes = []
    for name, below in graph.items():
        for other in sorted(below - set().union(*(reached(one, graph) for one in below))):
            (x, y), (to_x, to_y) = place[name], place[other]
            y, middle = y + HEIGHT, (y + HEIGHT + to_y) / 2
            shapes.append(f'<path d="M{x:g},{y:g} C{x:g},{middle:g} {to_x:g},{middle:g} {to_x:g},{to_y - 5:g}"/>')
    for name, (x, y) in place.items():
        shapes += [
            f'<rect x="{x - WIDTH / 2:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
            f'<text x="{x:g}" y="{y + 19:g}" class="name">{name}</text>',
            f'<text x="{x:g}" y="{y + 36:g}">{ROOMS[name]}</text>',
        ]
    box = f"{width} {max(on_floor) * FLOOR + HEIGHT + 2 * GAP}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {box}" font-family="sans-serif" font-size="12">',
            "<style>rect{fill:#eef3f8;stroke:#456}text{text-anchor:middle;fill:#123}.name{font-weight:bold;font-size:14px}"
            "path{fill:none;stroke:#789;marker-end:url(#tip)}</style>",
            '<marker id="tip" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<polygon points="0,0 8,4 0,8" fill="#789"/></marker>',
            '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>',
            *shapes,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    Path(PICTURE).write_text(svg(), encoding="utf-8")
