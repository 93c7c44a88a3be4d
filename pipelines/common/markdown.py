"""Tables in Markdown, and text in it."""

import re

from pipelines.common.text import printable

# What a viewer makes something of. Brackets alone do nothing (an interval stays as it is), nor does _ within a word.
SPECIAL = re.compile(r"[\\`*<|~$&@]|\][(\[:]|://|\bwww\.|mailto:|xmpp:|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE)


def code(text: object) -> str:
    """Return text from outside as code in Markdown."""
    line = printable(text)
    if not line.strip():
        return line
    longest = max((len(ticks) for ticks in re.findall("`+", line)), default=0)
    space = " " if line[:1] in ("`", " ") or line[-1:] == "`" else ""
    return f"{'`' * (longest + 1)}{space}{line}{space}{'`' * (longest + 1)}"


def literal(text: object) -> str:
    """Return text from outside as Markdown that shows it as it is: no link, no picture, no tag, no new line.

    As code, where there is something in it that a viewer could make something of: some make links of addresses even
    where these are escaped. For within a line: what begins one may still be a list or a heading.
    """
    line = printable(text)
    return code(line) if SPECIAL.search(line) else line


def table_head(*heads: str) -> list[str]:
    """Return a table's first two lines."""
    return [table_row(*heads), "|---" * len(heads) + "|"]


def table_row(*cells: str) -> str:
    """Return a table's row, whose cells are text; a bar in one is a broken bar, since viewers differ on others."""
    return f"| {' | '.join(literal(cell.replace('|', '¦')) for cell in cells)} |"
