"""The hyperbolic tangent, by the logistic function where that is faster."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def tanh_(x: Tensor) -> Tensor:
    """Return tanh of ``x``, which may be overwritten.

    On processors tanh costs about as much as a 3×3 convolution of 32 channels, and 2σ(2x) - 1 a fifth of that. It
    is as exact to within 2e-7, which float32 and what is below it don't notice and float64 would.
    """
    if x.device.type != "cpu" or x.dtype == torch.float64:
        return x.tanh_()
    return x.float().mul_(2).sigmoid_().mul_(2).sub_(1).to(x.dtype)


class _Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = tanh_(x.clone(memory_format=torch.preserve_format))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(grad, y)


def tanh(x: Tensor) -> Tensor:
    """Return tanh of ``x``, with its gradient."""
    return torch.tanh(x) if torch.compiler.is_compiling() else _Tanh.apply(x)
