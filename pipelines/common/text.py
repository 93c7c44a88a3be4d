"""Text from outside, for where it is shown: names of files, attributes of a file, words of another program."""

import re

# What stands before @ in an address: as URLs have it, or as SQLAlchemy, which takes / ? # in a password. A port of this
# machine is none; what looks like another one may be.
LOCAL = r"(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[\da-f:.]+\]):\d{1,5}[/?#]"
LOGIN = re.compile(rf"(\w://)(?:[^/?#]*|(?!{LOCAL})[^/@:]*:[^@]*)@")
FORMULA = tuple("=+-@＝＋－＠")  # what a spreadsheet takes for one, the wide ones in East Asia


def printable(text: object) -> str:
    r"""Return text in one line that a log or a terminal shows as it is, without the logins of addresses in it.

    Control characters (of terminals, too), line ends, marks that turn the direction of writing, and bytes that are no
    text become escapes: ``\n``, ``\x1b``, ``\u202e``.
    """
    line = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in str(text))
    return re.sub(r"\S+", _without_logins, line)


def _without_logins(word: re.Match[str]) -> str:
    # Up to the last @ alone: each search then ends at one, and a long word takes no longer than its length.
    head, at, tail = word[0].rpartition("@")
    return LOGIN.sub(r"\1", head + at) + tail


def csv_cell(text: object) -> str:
    """Return text that a spreadsheet shows and doesn't calculate; numbers of ours are not for this function."""
    line = printable(text)
    return f"'{line}" if line.lstrip().startswith(FORMULA) else line
