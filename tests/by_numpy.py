"""The recurrences written out with numpy, one output at a time: what the layers are checked against."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def conv(x, W, b=None, stride=1):
    """x (B, C, H, W) with W (C', C, k, k), zero padding k // 2."""
    k = W.shape[-1]
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2,) * 2, (k // 2,) * 2))
    windows = sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::stride, ::stride]
    y = np.einsum("bcijkl,dckl->bdij", windows, W)
    return y if b is None else y + b[:, None, None]


def max_pool(x, s):
    B, C, H, W = x.shape
    return x.reshape(B, C, H // s, s, W // s, s).max((3, 5))


def normalise(x, gamma, beta, mean=None, var=None):
    """Batch norm of (..., C, H, W): by the given statistics, or by those of x itself."""
    axes = tuple(a for a in range(x.ndim) if a != x.ndim - 3)
    mean = x.mean(axes) if mean is None else mean
    var = x.var(axes) if var is None else var
    column = (slice(None), None, None)
    return (x - mean[column]) / np.sqrt(var + 1e-5)[column] * gamma[column] + beta[column]


def weights(layer):
    """A layer's parameters and statistics, by name, as numpy."""
    return {name: value.detach().numpy() for name, value in layer.state_dict().items()}


def outline(layer, x, c=None):
    """SCS, outline form: h, c_T, and the subtask streams' S and ReLU(u)."""
    w = weights(layer)
    h, S, z = [], [], []
    for x_t in x:
        S.append(np.tanh(conv(x_t, w["spatial.weight"], w["spatial.bias"])))
        u = conv(x_t, w["temporal.weight"], w["temporal.bias"])
        if c is not None:
            u = u + conv(c, w["state.weight"])
        c = sigmoid(u)
        z.append(np.maximum(u, 0))
        h.append(S[-1] * c)
    return np.stack(h), c, np.stack(S), np.stack(z)


def action(layer, x, c=None, *, training, statistics="running"):
    """SCS, action form: h, c_T, and the subtask streams' S and pooled ReLU(u), whose statistics are "aside"."""
    w = weights(layer)

    def norm(name, y):
        given = () if training else (w[f"{name}.{statistics}_mean"], w[f"{name}.{statistics}_var"])
        return normalise(y, w[f"{name}.weight"], w[f"{name}.bias"], *given)

    raw = np.stack([conv(x_t, w["spatial.weight"], stride=layer.stride) for x_t in x])
    S = np.maximum(norm("spatial_norm", raw), 0)
    h, z = [], []
    for x_t, S_t in zip(x, S, strict=True):
        u = conv(x_t, w["temporal.weight"])
        if c is not None:
            u = u + conv(c, w["state.weight"])
        u = norm("gate_norm", u)
        c = sigmoid(u)
        h.append(S_t * max_pool(c, layer.stride))
        z.append(max_pool(np.maximum(u, 0), layer.stride))
    return np.stack(h), c, S, np.stack(z)
