"""What the documents say of the repository is so."""

import re
from pathlib import Path

import pytest
from clone import commit, copy_working_tree, sh
from typer.main import get_command

from docs.draw_rooms import PICTURE, svg
from pipelines.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_picture_of_the_rooms_is_of_this_code() -> None:
    assert PICTURE.read_text(encoding="utf-8") == svg(), "draw it again: python -m docs.draw_rooms"


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, on GitHub and on the site."""
    titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    inside = [target for target in targets if "://" not in target]
    assert [target for target in inside if not (page.parent / target).exists()] == []
    sections = re.findall(r"\]\((\w+\.md)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [(target, name) for target, name in sections if name not in anchors(page.parent / target)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8"))
    missing = [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")]
    assert missing == []
    assert named or page.name != "service.md"


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


def test_the_site_is_made_and_its_gallery_runs(tmp_path: Path) -> None:
    """Warnings are errors: a link to nowhere, a page that no list has, a docstring that isn't as numpydoc's."""
    copy_working_tree(tmp_path)
    commit(tmp_path)
    sh("make --assume-old=.venv/installed docs", tmp_path)
    scripts = [path.stem for path in (ROOT / "docs/gallery").glob("*.py")]
    assert len(scripts) >= 5
    for script in scripts:
        page = (tmp_path / "site/examples" / f"{script}.html").read_text(encoding="utf-8")
        assert f"sphx_glr_{script}_001.png" in page
    elsewhere = re.compile(r'(?:<script|<img|<link)[^>]*(?:src|href)="(?:https?:)?//')
    pages = {page: page.read_text(encoding="utf-8") for page in (tmp_path / "site").rglob("*.html")}
    assert [page for page, text in pages.items() if elsewhere.search(text)] == []


def test_commands_of_the_first_page_are_there() -> None:
    """And it has every command."""
    page = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`scs (\S+?)[ `]", page)) == set(get_command(app).commands)
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`make ([\w-]+)`", page)) <= set(targets)
