"""The outline form's recurrence over a whole sequence, and its gradient, by hand: the fast road.

It gives what the plain one in `scs_model.layers.scs` gives, and differs in three things:

* Frames are convolved many at once, as many as stay in the processor's cache, and all of them on a GPU. On a
  processor larger tensors are fetched from main memory, or from the system as fresh pages, at the price of the
  convolution itself.
* Where a path is stopped, the convolution that would give its gradient is not computed at all.
* The weights' gradients are summed over time in float32 under autocast as well.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from scs_model.layers.activation import tanh_
from scs_model.layers.sequence import to_frames

CACHED = 1 << 20  # elements of a layer's output that are worked on at once on a processor

NHWC = torch.channels_last


class OutlineRecurrence(torch.autograd.Function):
    """S_t = tanh(W_s * x_t + b_s), c_t = σ(W_x * x_t + W_c * c_{t-1} + b_c), h_t = S_t ⊙ c_t.

    Call as ``apply(x, c_0, W_s, b_s, W_x, b_c, W_c, open_paths, dtype)``: x (T, B, C, H, W), c_0 (B, C', H, W) or
    None for zero, ``open_paths`` T pairs (spatial, temporal) of bool or None for all, and the arithmetic's ``dtype``.
    It gives h (T, B, C', H, W) and c_T (B, C', H, W).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        c_0: Tensor | None,
        W_s: Tensor,
        b_s: Tensor,
        W_x: Tensor,
        b_c: Tensor,
        W_c: Tensor,
        open_paths: list[list[bool]] | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Run the recurrence; keep S and c where a gradient will be wanted."""
        T, B, _, H, W = x.shape
        channels, padding = len(W_s), W_s.shape[-1] // 2
        ctx.open_paths, ctx.steps, ctx.input_dtype = open_paths or [[True, True]] * T, (T, B), x.dtype
        ctx.weight_dtype = W_s.dtype
        frames = to_frames(x.to(dtype))
        b_s, b_c = b_s.to(dtype), b_c.to(dtype)
        W_s, W_x, W_c = (w.to(dtype, memory_format=NHWC) for w in (W_s, W_x, W_c))
        c = c_0 if c_0 is None else c_0.to(dtype).contiguous(memory_format=NHWC)
        h = torch.empty(T * B, channels, H, W, dtype=dtype, device=x.device, memory_format=NHWC)
        keep = any(ctx.needs_input_grad)
        kept = [frames, c, W_s, W_x, W_c]
        ctx.chunk = max(1, min(T, CACHED // (B * channels * H * W))) if x.device.type == "cpu" else T
        for now in _chunks(ctx):
            S = tanh_(conv2d(frames[now], W_s, b_s, padding=padding))
            cs = conv2d(frames[now], W_x, b_c, padding=padding)
            for u in cs.split(B):
                if c is not None:
                    u += conv2d(c, W_c, padding=padding)
                c = u.sigmoid_()
            torch.mul(S, cs, out=h[now])
            if keep:
                kept += [S, cs]
        ctx.save_for_backward(*kept)
        ctx.set_materialize_grads(False)
        assert c is not None
        return h.unflatten(0, (T, B)), c.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor | None, carried: Tensor | None) -> tuple[Tensor | None, ...]:
        """Go back in time, chunk by chunk; ``carried`` is the gradient into the state that a step hands on."""
        frames, c_0, W_s, W_x, W_c, *kept = ctx.saved_tensors
        T, B = ctx.steps
        wants_x, wants_c_0 = ctx.needs_input_grad[:2]
        grad_frames = torch.empty_like(frames) if wants_x else None
        sum_dtype = torch.promote_types(ctx.weight_dtype, torch.float32)
        parameters = W_s, W_s[:, 0, 0, 0], W_x, W_x[:, 0, 0, 0], W_c  # a bias has a number for each kernel
        grads = [torch.zeros_like(w, dtype=sum_dtype) for w in parameters]
        chunks = list(_chunks(ctx))
        for index in reversed(range(len(chunks))):
            now = chunks[index]
            S, c = kept[2 * index : 2 * index + 2]
            before = kept[2 * index - 1][-B:] if index else c_0
            times = slice(now.start // B, now.stop // B)
            g = torch.zeros_like(S) if grad_h is None else to_frames(grad_h[times].to(S.dtype))
            into_S = torch.ops.aten.tanh_backward(g * c, S)
            into_u = g * S
            for start in reversed(range(0, len(c), B)):
                at = slice(start, start + B)
                into_c = into_u[at]
                if carried is not None:
                    into_c += carried
                torch.ops.aten.sigmoid_backward.grad_input(into_c, c[at], grad_input=into_c)
                if start or index or wants_c_0:
                    carried = _conv_backward(into_c, c[at], W_c, of_input=True)[0]
            if len(c) > B:
                _add(grads[4:], _conv_backward(into_u[B:], c[:-B], W_c, of_weight=True)[1:2])
            if before is not None:
                _add(grads[4:], _conv_backward(into_u[:B], before, W_c, of_weight=True)[1:2])
            parts = []
            for path, into, W in ((0, into_S, W_s), (1, into_u, W_x)):
                is_open = [wants_x and paths[path] for paths in ctx.open_paths[times]]
                part, *of_weights = _conv_backward(
                    into, frames[now], W, of_input=all(is_open), of_weight=True, of_bias=True
                )
                _add(grads[2 * path :], of_weights)
                if any(is_open) and not all(is_open):
                    part = _where_open(into, frames[now], W, is_open)
                parts += [] if part is None else [part]
            if grad_frames is not None:
                _sum(parts, out=grad_frames[now])
        grad_x = None if grad_frames is None else grad_frames.unflatten(0, (T, B)).to(ctx.input_dtype)
        return grad_x, carried if wants_c_0 else None, *(g.to(ctx.weight_dtype) for g in grads), None, None


def _chunks(ctx: Any) -> Iterator[slice]:
    """Slices of frames (T·B), each of whole time steps."""
    T, B = ctx.steps
    return (slice(t * B, min(t + ctx.chunk, T) * B) for t in range(0, T, ctx.chunk))


def _conv_backward(
    grad: Tensor, x: Tensor, W: Tensor, *, of_input: bool = False, of_weight: bool = False, of_bias: bool = False
) -> tuple[Any, Any, Any]:
    """Gradients of a convolution that keeps the grid, those that are asked for."""
    pad = W.shape[-1] // 2
    wanted = [of_input, of_weight, of_bias]
    return torch.ops.aten.convolution_backward(
        grad, x, W, [len(W)], [1, 1], [pad, pad], [1, 1], False, [0, 0], 1, wanted
    )


def _where_open(grad: Tensor, x: Tensor, W: Tensor, is_open: list[bool]) -> Tensor:
    """Gradient into ``x`` (n·B, ...) of a convolution, at the open ones of n time steps; zero at the others."""
    index = torch.tensor(is_open).repeat_interleave(len(x) // len(is_open)).nonzero()[:, 0].to(x.device)
    part, *_ = _conv_backward(grad[index], x[: len(index)], W, of_input=True)
    return torch.zeros_like(x).index_copy_(0, index, part)


def _add(sums: list[Tensor], terms: Any) -> None:
    for total, term in zip(sums, terms, strict=False):
        total += term


def _sum(parts: list[Tensor], *, out: Tensor) -> None:
    if len(parts) == 2:
        torch.add(*parts, out=out)
    elif parts:
        out.copy_(parts[0])
    else:
        out.zero_()
