"""Text from outside is shown as text: in lines, in Markdown, in spreadsheets."""

import csv
from pathlib import Path

import pytest
from hostile import NAMES, in_markdown, is_clean
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.common.errors import Unavailable, UnreadableFile, UserError, in_short, one_line
from pipelines.common.markdown import code, literal, table_head, table_row
from pipelines.common.quarantine import write_quarantine
from pipelines.common.text import csv_cell, printable

# What viewers make something of, more often than chance would have it.
hostile = st.text(st.one_of(st.sampled_from("\\`*_[](){}<>#|~!&$:@/.;=+- \t\nxhtpsw0"), st.characters()), max_size=40)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x1b[0m\x9b\x07", r"\x1b[31mred\x1b[0m\x9b\x07"),
        ("gpj\u202eexe\u2066\u200b\u2028", r"gpj\u202eexe\u2066\u200b\u2028"),
        ("bad\udcffbyte", r"bad\udcffbyte"),
        ("日本語 ü – 5 °C [0.1, 0.2]", "日本語 ü – 5 °C [0.1, 0.2]"),
        ("postgresql+psycopg2://scs:p:w@db/mlflow", "postgresql+psycopg2://db/mlflow"),
        ("https://a:p@ss@host:1/x@y https://host?a=b@c", "https://host:1/x@y https://host?a=b@c"),
        ("at https://token@host/x and http://a:b@c", "at https://host/x and http://c"),
        ("models:/radar-nowcast@champion", "models:/radar-nowcast@champion"),
        ("redis://:p/w?d#@host/0", "redis://host/0"),
        ("http://localhost:5000/#/models/a@b http://127.0.0.1:4200/x?y=a@b", None),
        ("http://[::1]:4200/x@y https://host/path/a@b s3://bucket/a:b@c file:///a:b@c me@host:/path", None),
    ],
)
def test_a_line_shows_what_is_in_it_and_does_nothing(text: str, shown: str | None) -> None:
    assert printable(text) == (text if shown is None else shown)


@given(
    st.sampled_from(["http", "postgresql+psycopg2", "s3"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#@:")),
    # URLs take an @ in it, SQLAlchemy / ? and #; nobody takes both.
    st.one_of(
        st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=without))
        for without in ("@", "/?#")
    ),
)
def test_no_login_of_an_address_is_shown(scheme: str, user: str, password: str) -> None:
    assert printable(f"({scheme}://{user}:{password}@db:5432/x, gone)") == f"({scheme}://db:5432/x, gone)"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [UserError, Unavailable])
def test_an_error_is_one_clean_line(name: str, kind: type[UserError]) -> None:
    for words in (str(kind(f"{name}: gone")), str(UnreadableFile(name, name)), UnreadableFile("x", name).reason):
        assert is_clean(words)
    for error in (kind(name), OSError(2, "gone", name), ValueError(name)):
        assert is_clean(one_line(error)) and is_clean(in_short(error))


def test_an_errors_address_keeps_its_login_to_itself() -> None:
    error = UserError("MLflow store postgresql+psycopg2://scs:secret@db:5432/mlflow: no answer")
    assert str(error) == "MLflow store postgresql+psycopg2://db:5432/mlflow: no answer"
    assert "secret" not in one_line(ValueError("http://scs:secret@host/api"))


@given(hostile)
@example("a__b__ _c_ __d__")
@example("x_*y*_")
@example("[a][b] [c]: http://d")
@example("&amp;&#60;&nosuch;")
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    for within in (f"x {literal(text)} x", f"- file: {literal(text)} x", f"x ![x](y) {literal(text)} x"):
        shown, made = in_markdown(within)
        assert made <= ({"image"} if "![x]" in within else set()), within
        assert " ".join(printable(text).split()) in " ".join(shown.split())
    shown, made = in_markdown("\n".join([*table_head("file", text), table_row("x", text)]))
    cell = printable(text).replace("|", "¦").replace(" ", "")
    assert not made and shown.replace(" ", "") == f"file{cell}x{cell}"
    shown, made = in_markdown(f"x {code(text)} x")
    assert not made and shown.split() == f"x {printable(text)} x".split()


@pytest.mark.parametrize(
    "text", ["http://e.example", "HTTPS://e", "ftp://e", "www.e.example", "mailto:a", "me@e.example"]
)
def test_no_viewer_finds_an_address_by_itself(text: str) -> None:
    assert literal(f"see {text}!") == f"`see {text}!`"


def test_what_is_harmless_stays_legible() -> None:
    for text in (
        "scs_astsgd",
        "0.52 [0.41 to 0.60]",
        "mean CSI, pooled [95 %]",
        "12:30",
        "-0.01",
    ):
        assert literal(text) == text


@pytest.mark.parametrize("start", [*list("=+-@＝＋－＠"), " =", "\t=", "\r=", "\n="])
def test_a_spreadsheet_calculates_nothing(start: str) -> None:
    cell = csv_cell(f"{start}cmd|' /C calc'!A0")
    assert cell[0] in "'\\" and is_clean(cell)


def test_the_quarantine_table_keeps_any_name_in_its_row(tmp_path: Path) -> None:
    write_quarantine({name: f"not {name}" for name in NAMES}, tmp_path / "quarantine.csv")
    lines = (tmp_path / "quarantine.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.reader(lines))
    assert len(rows) == 1 + len(NAMES)
    assert {row[1] for row in rows[1:]} == {csv_cell(f"not {name}") for name in NAMES}
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
