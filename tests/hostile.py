"""Names and words as an inbox, an archive or another program may bring them, and how they are looked for."""

import re
from pathlib import Path

from markdown_it import MarkdownIt

NAMES = [
    "[link](http:evil) **bold** _slanted_ | cell.h5",
    "![picture](https:x) <img src=x onerror=alert(1)> ~~gone~~ &lt;b&gt;.h5",
    "<script>alert(1)<script> www.evil.example me@evil.example `code`.h5",
    "new\nline\r\n# heading\t\x1b[31mred\x1b[0m\x07.h5",
    "turned\u202egpj.exe\u2066 zero\u200bwidth.h5",
    "=HYPERLINK(1).h5",
    "@SUM(1+1).h5",
    "+1.h5",
    "-rf.h5",
    "$(touch pwned)`id`;$x$ a\\*b.h5",
    "日本語 ü.h5",
]
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# As mdast-util-gfm-autolink-literal finds them, and GFM's specification.
ADDRESS = re.compile(r"(https?|ftp)://|\bwww\.|(mailto|xmpp):|[-.\w+]+@[-\w]+(\.[-\w]+)+", re.IGNORECASE)
HARMLESS = {"text", "text_special", "softbreak", "code_inline"}


def in_markdown(text: str) -> tuple[str, set[str]]:
    """Return the text that a viewer shows of Markdown, and the kinds of what it makes of it beside plain text.

    Addresses in plain text count: GitHub's and Prefect's viewers make links of them, even where they are escaped.
    """
    inline = [child for token in MARKDOWN.parse(text) if token.type == "inline" for child in token.children or []]
    plain = "".join("\0" if child.type == "code_inline" else child.content for child in inline)
    made = {child.type for child in inline} - HARMLESS
    return "".join(child.content for child in inline), made | ({"address"} if ADDRESS.search(plain) else set())


def is_clean(line: str) -> bool:
    """Whether a line can be printed by a terminal as it is."""
    return all(one.isprintable() for one in line)


def named(folder: Path, content: bytes, names: list[str] = NAMES) -> list[Path]:
    """Write files of these names."""
    paths = [folder / name.replace("/", "∕") for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return paths
