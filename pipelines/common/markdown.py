"""Tables in Markdown, and text in it."""

import re

from pipelines.common.text import printable

# What makes something of the text that comes after it. Brackets alone do nothing: an interval stays legible.
SPECIAL = re.compile(
    r"""[\\`*<|~$]
    | \](?=[(\[:])              # of a link, a picture
    | &(?=\#?\w+;)              # of a character's name
    | (?<=[A-Za-z]):(?=//)      # of an address, which some viewers make a link of by itself
    | (?<=mailto):|(?<=xmpp):
    | (?<=\bwww)\.
    | @(?=[\w.-]*\.)
    | (?<![^\W_])_ | _(?![^\W_])  # within a word it does nothing""",
    re.VERBOSE | re.IGNORECASE,
)


def literal(text: object) -> str:
    """Return text from outside as Markdown that shows it as it is: no link, no picture, no tag, no new line.

    For within a line: what begins one may still be a list or a heading.
    """
    return SPECIAL.sub(r"\\\g<0>", printable(text))


def code(text: object) -> str:
    """Return text from outside as code in Markdown."""
    return "`" + printable(text).replace("`", "'") + "`"


def table_head(*heads: str) -> list[str]:
    """Return a table's first two lines."""
    return [table_row(*heads), "|---" * len(heads) + "|"]


def table_row(*cells: str) -> str:
    """Return a table's row, whose cells are text."""
    return f"| {' | '.join(map(literal, cells))} |"
