"""ConvLSTM, ConvGRU and TrajGRU against the recurrences written out with numpy."""

import numpy as np
import pytest
import torch
from by_numpy import conv, leaky, sigmoid, weights

from scs_model.layers.convgru import ConvGRU
from scs_model.layers.convlstm import ConvLSTM
from scs_model.layers.trajgru import TrajGRU


def split(w, name, parts):
    """The kernels of gates that share one convolution."""
    return np.split(w[name], parts)


@pytest.mark.parametrize("kernel", [3, 5])
def test_convlstm(kernel):
    torch.manual_seed(2)
    layer = ConvLSTM(3, 4, kernel).double()
    x, h_0, c_0 = (torch.randn(*s, dtype=torch.float64) for s in ((5, 2, 3, 6, 7), (2, 4, 6, 7), (2, 4, 6, 7)))
    w = weights(layer)
    W_x, W_h, b = (split(w, name, 4) for name in ("input.weight", "hidden.weight", "input.bias"))
    h, c, wanted = h_0.numpy(), c_0.numpy(), []
    for x_t in x.numpy():
        i, f, o, g = (conv(x_t, W_x[k], b[k]) + conv(h, W_h[k]) for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        wanted.append(h)
    ours, (h_T, c_T) = layer(x, (h_0, c_0))
    np.testing.assert_allclose(ours.detach().numpy(), np.stack(wanted), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(h_T.detach().numpy(), h, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(c_T.detach().numpy(), c, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("kernel", "state_kernel"), [(3, 3), (3, 1), (5, 3)])
def test_convgru(kernel, state_kernel):
    torch.manual_seed(3)
    layer = ConvGRU(3, 4, kernel, state_kernel=state_kernel).double()
    x = torch.randn(5, 2, 3, 6, 7, dtype=torch.float64)
    w = weights(layer)
    W_x, W_h, b = (split(w, name, 3) for name in ("input.weight", "hidden.weight", "input.bias"))
    h, wanted = np.zeros((2, 4, 6, 7)), []
    for x_t in x.numpy():
        z = sigmoid(conv(x_t, W_x[0], b[0]) + conv(h, W_h[0]))
        r = sigmoid(conv(x_t, W_x[1], b[1]) + conv(h, W_h[1]))
        candidate = leaky(conv(x_t, W_x[2], b[2]) + r * conv(h, W_h[2]))
        h = (1 - z) * candidate + z * h
        wanted.append(h)
    ours, h_T = layer(x)
    np.testing.assert_allclose(ours.detach().numpy(), np.stack(wanted), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(h_T.detach().numpy(), h, rtol=1e-9, atol=1e-12)


def test_trajgru_without_flow_is_a_convgru_of_1x1_state():
    torch.manual_seed(4)
    traj = TrajGRU(3, 4, links=3).double()
    gru = ConvGRU(3, 4, state_kernel=1).double()
    for parameter in traj.flow.parameters():
        torch.nn.init.zeros_(parameter)
    gru.input.load_state_dict(traj.input.state_dict())
    with torch.no_grad():
        gru.hidden.weight.copy_(traj.hidden.weight.unflatten(1, (3, 4)).sum(1))
    x = torch.randn(4, 2, 3, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(traj(x)[0], gru(x)[0])


def test_trajgru_fetches_from_where_the_flow_points():
    """Flow (x, y) of whole and half cells: H'(i, j) = H(i + y, j + x), bilinear, zero beyond the edge."""
    layer = TrajGRU(1, 2, links=2).double()
    h = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    flow = torch.tensor([2.0, -1.0, 0.5, 0.0], dtype=torch.float64).view(1, 4, 1, 1).expand(1, 4, 5, 6)
    warped = layer._warp(h, flow)
    wanted = torch.zeros(1, 4, 5, 6, dtype=torch.float64)
    wanted[:, :2, 1:, :4] = h[:, :, :4, 2:]
    wanted[:, 2:] = h / 2
    wanted[:, 2:, :, :5] += h[:, :, :, 1:] / 2
    torch.testing.assert_close(warped, wanted)


def test_gradients_by_differences():
    torch.manual_seed(5)
    for layer in (ConvLSTM(2, 2), ConvGRU(2, 2), TrajGRU(2, 2, links=2)):
        layer = layer.double()
        x = torch.randn(3, 1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: layer(x)[0], (x,))  # noqa: B023
