"""Back-propagation chains: how many ways the gradient goes from the loss to the inputs, and what STSGD leaves.

With S, c and h as in a stack of SCS layers, and π_s, π_t the probabilities that the spatial
and the temporal path into a layer's input are open:

    N_c(l,t) = N_h(l,t) + N_c(l,t+1),  N_x(l,t) = π_s·N_h(l,t) + π_t·N_c(l,t),  N_h(l-1,t) = N_x(l,t)
    N_h(L,T) = 1, other N_h(L,·) = 0, N_c(·,T+1) = 0;  the count is Σ_t N_x(1,t)

A residual line, which nothing switches, adds what was counted at its upper end to N_x at its lower one.

Pang et al. 2020, arXiv 2006.00212, Fig. 4.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from scs_model.stsgd.switch import check_switch


def open_probabilities(kind: str, p: float) -> tuple[float, float]:
    """Return π_s and π_t of a switch (`scs_model.stsgd.switch`); raises ValueError if there is no such switch."""
    check_switch(kind, p)
    if kind == "off":
        return 1.0, 1.0
    if kind == "one_sided":
        return 1.0, 1.0 - p
    return (p, 1.0 - p**2) if p < 0.5 else (1.0 - (1.0 - p) ** 2, 1.0 - p)


def log_chains_by_place(layers: int, steps: int, kind: str, p: float, *, lines: Sequence[int] = ()) -> Tensor:
    """Return the natural logarithm of the expected number of chains into x of each layer at each time step, exact.

    Seen from the last frame, a frame's count doesn't depend on how many came before it, nor a layer's on how many
    are below: one recursion gives them all.

    Parameters
    ----------
    layers, steps : int
        L and T.
    kind, p
        The switch.
    lines : sequence of int
        Layers that each residual line goes around, from the top down, one line under the other; none without it.

    Returns
    -------
    Tensor of shape (layers, steps), float64
        The top layer first; the last frame, where the loss is, first.
    """
    if layers < 1 or steps < 1:
        raise ValueError(f"at least one layer and one step; got {layers} and {steps}")
    log_s, log_t = torch.tensor(open_probabilities(kind, p), dtype=torch.float64).log()
    log_h = torch.full((steps,), -torch.inf, dtype=torch.float64)
    log_h[0] = 0.0
    counts: list[Tensor] = []
    lower_ends = set(accumulate(lines))
    above = log_h
    for layer in range(1, layers + 1):
        log_h = torch.logaddexp(log_s + log_h, log_t + log_h.logcumsumexp(0))
        if layer in lower_ends:
            log_h = above = torch.logaddexp(log_h, above)
        counts.append(log_h)
    return torch.stack(counts)


def log_expected_chains(layers: int, steps: int, kind: str, p: float) -> Tensor:
    """Return the natural logarithm of the expected number of chains, for all depths and lengths up to these.

    Returns
    -------
    Tensor of shape (layers, steps), float64
        For L = 1..layers and T = 1..steps, without residual lines.
    """
    return log_chains_by_place(layers, steps, kind, p).logcumsumexp(1)


def chain_table(
    layers: Sequence[int], steps: Sequence[int], ps: Sequence[float], kind: str = "two_sided"
) -> list[dict[str, float | int | str]]:
    """Tabulate the expected chains: a row for each p, L and T, and those of plain back-propagation besides.

    Returns
    -------
    list of dict
        ``kind``, ``p``, ``layers``, ``steps``, ``log10_chains`` and ``chains`` (inf
        beyond float's range). The rows of plain back-propagation are of kind "off" and p 0.
    """
    rows: list[dict[str, float | int | str]] = []
    for of_kind, p in [*((kind, p) for p in ps), ("off", 0.0)]:
        logs = log_expected_chains(max(layers), max(steps), of_kind, p)
        for L in layers:
            for T in steps:
                log = logs[L - 1, T - 1]
                rows.append(
                    {
                        "kind": of_kind,
                        "p": p,
                        "layers": L,
                        "steps": T,
                        "log10_chains": float(log / torch.tensor(10.0).double().log()),
                        "chains": float(log.exp()),
                    }
                )
    return rows
