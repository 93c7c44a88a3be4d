"""The strided convolution of residual lines: what torch's own gives, without what its gradient does to memory."""

import subprocess
import sys

import pytest
import torch

from scs_model.layers.shortcut import Shortcut


def test_shortcut_is_the_strided_convolution() -> None:
    torch.manual_seed(0)
    ours, plain = Shortcut(2, 4, 2), torch.nn.Conv2d(2, 4, 1, 2, bias=False)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, 2, 7, 8)
    torch.testing.assert_close(ours(x), plain(x))
    for _ in range(10):  # the plain one, channels last, ends the process here
        z = torch.randn(4, 2, 56, 56).contiguous(memory_format=torch.channels_last).requires_grad_()
        ours(z).sum().backward()
    torch.testing.assert_close(z.grad[0, :, ::2, ::2], ours.weight.sum(0).expand(2, 28, 28))


@pytest.mark.parametrize("cell", ["scs", "cnn"])
def test_a_narrow_network_of_clips_survives_its_gradient(cell: str) -> None:
    """In a process of its own, which torch's strided convolution on the residual lines would end."""
    code = (
        "import torch; from scs_model.networks.regression import Regressor; torch.manual_seed(0)\n"
        f"network = Regressor({cell!r}, 9, 4, 3)\n"
        "for _ in range(4): network(torch.randn(2, 2, 3, 224, 224))[0].sum().backward()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
