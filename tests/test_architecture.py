"""Who may know whom, from the imports in the code, those within functions too."""

import sys
from graphlib import TopologicalSorter
from pathlib import Path

from pipelines.common.imports import CODE, imported

SCS = {"scs_model", "scs_model.layers", "scs_model.networks", "scs_model.stsgd"}
MAY_IMPORT = {
    "scs_model.stsgd": set(),
    "scs_model.layers": {"scs_model.stsgd"},
    "scs_model.networks": {"scs_model.stsgd", "scs_model.layers"},
    "scs_model": {"scs_model.layers", "scs_model.networks"},
    "common": set(),
    "params": {"common"},
    "project": {"common"},
    "fetch": {"common", "params"},
    "radar": {"common", "params"},
    "video": {"common", "params"},
    "images": {"common", "params"},
    "tracking": {"common", "params"},
    "training": {"common", "params", "tracking"} | SCS,
    "verification": {"common", "params", "radar"},
    "nowcast": {"common", "params", "radar", "tracking", "training", "verification"} | SCS,
    "action": {"common", "params", "video", "tracking", "training", "verification"} | SCS,
    "driving": {"common", "params", "video", "tracking", "training", "verification"} | SCS,
    "outline": {"common", "params", "images", "tracking", "training", "verification"} | SCS,
    "operation": {"common", "params", "radar", "verification", "tracking", "nowcast"},
}
FOR_OLD_VERSIONS = ("pipelines/tracking/pyfunc.py", "pipelines/tracking/pyfunc_action.py")  # loaders that they name

FILES = sorted(
    file
    for package in ("scs_model", "pipelines", "flows")
    for file in (CODE / package).rglob("*.py")
    if file.relative_to(CODE).as_posix() not in FOR_OLD_VERSIONS
)


def room(name: str) -> str | None:
    """Room of a module of ours: a folder of pipelines, a part of scs_model, flows, or the command line."""
    package, *parts = name.split(".")
    if package == "pipelines" and parts:
        return parts[0]
    if package == "scs_model":
        return f"scs_model.{parts[0]}" if parts and (CODE / "scs_model" / parts[0]).is_dir() else "scs_model"
    return "flows" if package == "flows" else None


def room_of(file: Path) -> str | None:
    return room(".".join(file.relative_to(CODE).with_suffix("").parts).removesuffix(".__init__"))


def arrows() -> dict[tuple[str, str], list[str]]:
    """Pairs of rooms, the first of which imports from the second, and the imports that do."""
    found: dict[tuple[str, str], list[str]] = {}
    for file in FILES:
        for name in imported(file):
            here, there = room_of(file), room(name)
            if here and there and here != there:
                found.setdefault((here, there), []).append(f"{file.relative_to(CODE)}: {name}")
    return found


def imports_of(room_: str | None) -> set[str]:
    return {name for file in FILES if room_of(file) == room_ for name in imported(file)}


def libraries(room_: str | None) -> set[str]:
    """Top-level names of what a room's modules import from outside."""
    names = {name.split(".")[0] for name in imports_of(room_)}
    return names - set(sys.stdlib_module_names) - {"pipelines", "scs_model", "flows"}


def test_every_room_is_in_the_table():
    assert {room_of(file) for file in FILES} == {*MAY_IMPORT, "cli", "flows", None}


def test_rooms_import_from_those_that_they_may_know():
    wrong = {
        arrow: where for arrow, where in arrows().items() if arrow[1] not in MAY_IMPORT.get(arrow[0], {*MAY_IMPORT})
    }
    assert wrong == {}


def test_no_rooms_in_a_circle():
    graph: dict[str, set[str]] = {}
    for here, there in arrows():
        graph.setdefault(here, set()).add(there)
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("common") < order.index("radar") < order.index("nowcast") < order.index("operation")


def test_verification_knows_of_radar_what_a_frame_a_grid_and_an_image_are():
    modules = {name.split(".")[2] for name in imports_of("verification") if name.startswith("pipelines.radar.")}
    assert modules <= {"frame", "grid", "echo_image"}


def test_each_framework_is_in_one_room():
    assert {room_ for room_ in (*MAY_IMPORT, "cli", "flows", None) if "prefect" in libraries(room_)} == {"flows"}
    assert {room_ for room_ in (*MAY_IMPORT, "cli", "flows", None) if "mlflow" in libraries(room_)} == {"tracking"}


def test_scs_model_needs_torch_alone():
    assert {name for room_ in MAY_IMPORT if room_.startswith("scs_model") for name in libraries(room_)} == {"torch"}
