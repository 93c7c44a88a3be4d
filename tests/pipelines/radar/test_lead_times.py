import pytest

from pipelines.radar.lead_times import few_leads


@pytest.mark.parametrize(
    ("leads", "shown"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 3, 4]), (12, [3, 6, 9, 12])]
)
def test_few_leads_are_even_and_end_with_the_last(leads: int, shown: list[int]) -> None:
    assert (few_leads(leads) + 1).tolist() == shown
