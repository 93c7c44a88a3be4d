"""Tables in Markdown."""


def table_head(*heads: str) -> list[str]:
    """Return a table's first two lines."""
    return [table_row(*heads), "|---" * len(heads) + "|"]


def table_row(*cells: str) -> str:
    """Return a table's row."""
    return f"| {' | '.join(cells)} |"
