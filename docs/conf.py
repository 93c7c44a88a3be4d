"""The documentation site, made by `make docs`: these pages, the API from its docstrings, and a gallery that runs."""

import importlib.metadata
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "scs-nowcast"
version = release = importlib.metadata.version(project)
project_copyright = "the developers, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["gallery/*"]  # the scripts; what they become is in examples/
default_role = "py:obj"
myst_heading_anchors = 4
numpydoc_show_class_members = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "pydata_sphinx_theme"
html_title = "scs-nowcast"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"**": ["globaltoc.html"]}
html_theme_options = {
    "navbar_center": [],  # all pages are at the side
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}


def read_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Take a page that lies above this folder from there, and let links between pages lead to those of the site."""
    above = ROOT / f"{name.upper()}.md"
    text = above.read_text(encoding="utf-8") if above.exists() else source[0]
    text = re.sub(r"\]\(gallery/(\w+)\.py", r"](examples/\1.rst", text)
    source[0] = re.sub(r"\]\((?:\.\./|docs/)?(\w+)\.md", lambda link: f"]({link[1].lower()}.md", text)


def setup(app: Sphinx) -> None:
    """Tell Sphinx."""
    app.connect("source-read", read_page)
