from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread

from pipelines.common.errors import UserError
from pipelines.training.gradient_chains import parse_probabilities, parse_range, write_chains


def test_table_has_the_numbers_of_the_design(tmp_path: Path) -> None:
    ps = parse_probabilities("0,0.25,0.5,0.75,1")
    write_chains(parse_range("1..17"), parse_range("1..20"), ps, "two_sided", tmp_path / "c.csv", tmp_path / "c.png")
    table = pd.read_csv(tmp_path / "c.csv")
    assert len(table) == 17 * 20 * 6
    deepest = table[(table["layers"] == 17) & (table["steps"] == 20)].set_index(["kind", "p"])["chains"]
    # L17·T20, worked out by hand in the design: p = 0, 0.25, 0.5, and plain back-propagation.
    assert deepest["two_sided", 0.0] == pytest.approx(8.6e9, rel=0.01)
    assert deepest["two_sided", 0.25] == pytest.approx(2.0e10, rel=0.03)
    assert deepest["two_sided", 0.5] == pytest.approx(2.7e8, rel=0.01)
    assert deepest["off", 0.0] == pytest.approx(3.9e12, rel=0.01)
    assert deepest["two_sided", 1.0] == 1.0
    picture = imread(tmp_path / "c.png")
    assert picture.shape[1] > 1000
    assert picture.std() > 0.05


@pytest.mark.parametrize(("text", "numbers"), [("1..4", [1, 2, 3, 4]), ("2,5,10", [2, 5, 10]), ("7", [7])])
def test_ranges(text: str, numbers: list[int]) -> None:
    assert parse_range(text) == numbers


@pytest.mark.parametrize("text", ["", "0..3", "4..1", "1..x", "a", "1,,2", "-1"])
def test_what_is_no_range_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match="a range such as"):
        parse_range(text)


@pytest.mark.parametrize("text", ["", "2", "-0.1", "nan", "0.5,x"])
def test_what_is_no_probability_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match="probabilities"):
        parse_probabilities(text)
