"""What the documents say of the repository is so."""

import re
from pathlib import Path

import pytest

from docs.draw_rooms import PICTURE, svg

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_picture_of_the_rooms_is_of_this_code() -> None:
    assert PICTURE.read_text(encoding="utf-8") == svg(), "draw it again: python -m docs.draw_rooms"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    inside = [target for target in targets if "://" not in target]
    assert [target for target in inside if not (page.parent / target).exists()] == []


def test_files_of_the_architecture_are_there() -> None:
    """Those in code spans, from the top, from pipelines/, or beside the one before; data/ holds what runs write."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    beside, missing = ROOT, []
    for name in re.findall(r"`(?!data/)([\w./]+(?:\.py|/))`", page):
        places = [folder / name for folder in (ROOT, ROOT / "pipelines", ROOT / "scs_model", beside)]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            missing.append(name)
        else:
            beside = found if found.is_dir() else found.parent
    assert missing == []
