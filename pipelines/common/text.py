"""Text from outside, for where it is shown: names of files, attributes of a file, words of another program."""

import re

PASSWORD = re.compile(r"(\w://)[^\s/?#]*@")  # what stands before @ in an address
FORMULA = tuple("=+-@＝＋－＠")  # what a spreadsheet takes for one, the wide ones in East Asia


def printable(text: object) -> str:
    r"""Return text in one line that a log or a terminal shows as it is, without the logins of addresses in it.

    Control characters (of terminals, too), line ends, marks that turn the direction of writing, and bytes that are no
    text become escapes: ``\n``, ``\x1b``, ``\u202e``.
    """
    line = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in str(text))
    return PASSWORD.sub(r"\1", line)


def csv_cell(text: object) -> str:
    """Return text that a spreadsheet shows and doesn't calculate; numbers of ours are not for this function."""
    line = printable(text)
    return f"'{line}" if line.lstrip().startswith(FORMULA) else line
