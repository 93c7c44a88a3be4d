import pytest
import torch

from scs_model.stsgd.subtasks import STILL, normalised_error


def test_an_error_is_of_what_the_target_is_like_however_small() -> None:
    target = torch.tensor([3.0, -1.0, 1.0, 1.0])  # mean square (9 + 1 + 1 + 1) / 4 = 3
    for scale in (1.0, 0.1):
        assert normalised_error(torch.zeros(4), scale * target).item() == pytest.approx(1.0)
        assert normalised_error(target / 3**0.5, scale * target).item() == pytest.approx(0.0, abs=1e-10)
        # One of four is off by 0.5.
        off = target / 3**0.5 + torch.tensor([0.5, 0.0, 0.0, 0.0])
        assert normalised_error(off, scale * target).item() == pytest.approx(0.25 / 4)


def test_what_is_as_good_as_still_is_not_blown_up() -> None:
    target = torch.full((4,), 0.1 * STILL**0.5)
    assert normalised_error(torch.zeros(4), target).item() == pytest.approx(0.01)
    assert normalised_error(torch.zeros(4), torch.zeros(4)).item() == 0
