import itertools
import math

import pytest
import torch

from scs_model.layers.scs import SCS
from scs_model.layers.stack import Stack
from scs_model.stsgd.chains import chain_table, log_chains_by_place, log_expected_chains
from scs_model.stsgd.switch import draw_open_paths

SWITCHES = [("two_sided", p) for p in (0.0, 0.2, 0.49, 0.5, 0.75, 1.0)] + [("one_sided", 0.3), ("off", 0.0)]


def count_chains(open_paths):
    """Count the chains that draws (..., L, T, 2) leave."""
    is_open = open_paths.double()
    h = torch.zeros_like(is_open[..., 0, :, 0])
    h[..., -1] = 1.0
    for layer in reversed(range(is_open.shape[-3])):
        c = h.flip(-1).cumsum(-1).flip(-1)
        h = is_open[..., layer, :, 0] * h + is_open[..., layer, :, 1] * c
    return h.sum(-1)


def open_shares(kind, p):
    if kind == "off":
        return 1.0, 1.0
    if kind == "one_sided":
        return 1.0, 1 - p
    return (p, 1 - p * p) if p < 0.5 else (1 - (1 - p) ** 2, 1 - p)


def closed_form(L, T, kind, p):
    s, t = open_shares(kind, p)
    return sum(math.comb(L, j) * s ** (L - j) * t**j * math.comb(T - 1 + j, j) for j in range(L + 1))


def walk(open_paths, layer, t):
    """Every way down from h at (layer, t), one by one: through S at once, or through c at t or earlier."""
    if layer < 0:
        return 1
    ways = walk(open_paths, layer - 1, t) if open_paths[layer][t][0] else 0
    return ways + sum(walk(open_paths, layer - 1, u) for u in range(t + 1) if open_paths[layer][u][1])


@pytest.mark.parametrize(("kind", "p"), SWITCHES)
def test_expectation_is_the_closed_form(kind, p):
    table = log_expected_chains(17, 20, kind, p)
    for L, T in itertools.product((1, 2, 5, 17), (1, 2, 7, 20)):
        assert math.isclose(table[L - 1, T - 1].exp().item(), closed_form(L, T, kind, p), rel_tol=1e-11)


def test_the_papers_size():
    wanted = {0.0: 8.6e9, 0.25: 2.0e10, 0.5: 2.7e8}
    for p, chains in wanted.items():
        assert math.isclose(log_expected_chains(17, 20, "two_sided", p)[-1, -1].exp(), chains, rel_tol=0.03)
    assert math.isclose(log_expected_chains(17, 20, "off", 0.0)[-1, -1].exp(), 3.9e12, rel_tol=0.01)


def test_beyond_float_range():
    log10 = log_expected_chains(900, 1000, "two_sided", 0.0)[-1, -1].item() / math.log(10)
    exact = math.comb(1000 - 1 + 900, 900)  # π_s = 0, π_t = 1: the last term alone
    assert math.isclose(log10, math.log10(exact), rel_tol=1e-12) and log10 > 308


@pytest.mark.parametrize(("kind", "p"), SWITCHES)
def test_expectation_by_enumeration(kind, p):
    """Every pattern of open paths of L 2, T 2, each counted way by way, weighted by its probability."""
    if kind == "two_sided":  # r1 < p stops the temporal, r2 < 1 - p the spatial one
        both_stopped = p * (1 - p)
        pairs = {(1, 1): (1 - p) * p, (1, 0): p * p, (0, 1): (1 - p) ** 2}
        pairs[(0, 1) if p < 0.5 else (1, 0)] += both_stopped
    else:
        share = open_shares(kind, p)[1]
        pairs = {(1, 1): share, (1, 0): 1 - share}
    expected = 0.0
    for pattern in itertools.product(pairs, repeat=4):
        probability = math.prod(pairs[pair] for pair in pattern)
        paths = [list(pattern[:2]), list(pattern[2:])]
        ways = walk(paths, 1, 1)
        assert count_chains(torch.tensor(paths).bool()).item() == ways
        expected += probability * ways
    assert math.isclose(log_expected_chains(2, 2, kind, p)[-1, -1].exp(), expected, rel_tol=1e-12)


def test_counts_are_those_of_a_walk():
    generator = torch.Generator().manual_seed(3)
    draws = torch.rand(20, 4, 5, 2, generator=generator) < 0.6
    assert count_chains(draws).tolist() == [walk(draw.tolist(), 3, 4) for draw in draws]


@pytest.mark.parametrize(("kind", "p"), [("two_sided", 0.25), ("two_sided", 0.5), ("one_sided", 0.4)])
def test_monte_carlo_agrees(kind, p):
    draws = [draw_open_paths(kind, p, seed=5, step=step, rank=0, layers=4, steps=6) for step in range(4000)]
    counts = count_chains(torch.stack(draws))
    error = counts.std() / math.sqrt(len(counts))
    assert abs(counts.mean() - log_expected_chains(4, 6, kind, p)[-1, -1].exp()) < 4 * error


def unit_layer(s=0.5):
    """An SCS layer of one pixel at rest at S = s, c = 1/2, all of whose derivatives are 1 there.

    dh/dS = c, dS/dx = W_s·(1 - S²), dh/dc = S, dc/du = c·(1 - c), du/dx = W_x and du/dc = W_c; x = s/2 gives h = s/2.
    """
    layer = SCS(1, 1, 1).double()
    with torch.no_grad():
        layer.spatial.weight.fill_(2 / (1 - s * s))
        layer.spatial.bias.fill_(math.atanh(s) - s / (1 - s * s))
        layer.temporal.weight.fill_(4 / s)
        layer.state.weight.fill_(4.0)
        layer.temporal.bias.fill_(-4.0)
    return layer


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("kind", "p"), [("off", 0.0), ("two_sided", 0.25), ("two_sided", 0.5), ("one_sided", 0.4)])
def test_a_gradient_of_unit_derivatives_is_the_number_of_chains(kind, p, residual):
    """What back-propagation through real layers gives, at each layer and time, and no path more."""
    L, T = 4, 5
    stack = Stack((unit_layer() for _ in range(L)), residual=residual)
    for index, layer in enumerate(stack.layers if residual else ()):  # x is s/2, s, 3s/2, …
        with torch.no_grad():
            layer.spatial.bias -= layer.spatial.weight.item() * 0.25 * index
            layer.temporal.bias -= layer.temporal.weight.item() * 0.25 * index
    inputs = []
    for layer in stack.layers:
        layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    x, rest = torch.full((T, 1, 1, 1, 1), 0.25, dtype=torch.float64, requires_grad=True), torch.full((1, 1, 1, 1), 0.5)
    counts = []
    for step in range(8):
        inputs.clear()
        draw = None if kind == "off" else draw_open_paths(kind, p, seed=2, step=step, rank=0, layers=L, steps=T)
        h, _ = stack(x, [rest.double()] * L, draw)
        grads = torch.stack(torch.autograd.grad(h[-1].sum(), inputs)).view(L, T)
        is_open = torch.ones(L, T, 2).bool().tolist() if draw is None else draw.tolist()
        counts.append(grads)
        assert grads.round(decimals=6).tolist() == into_each(is_open, residual)
    if kind == "off":
        expected = log_chains_by_place(L, T, kind, p, lines=[1] * L * residual).exp().flip(0, 1)
        assert torch.allclose(counts[0], expected)


def into_each(is_open, residual):
    """Chains into x at each layer and time, each a way from h at the end of the top layer, one by one."""
    L, T = len(is_open), len(is_open[0])
    ways = [[0.0] * T for _ in range(L)]

    def go(layer, t):  # stand on h of `layer` at t
        if layer < 0:
            return
        for u in [t] * (is_open[layer][t][0] + residual) + [u for u in range(t + 1) if is_open[layer][u][1]]:
            ways[layer][u] += 1
            go(layer - 1, u)

    go(L - 1, T - 1)
    return ways


def test_a_line_around_two_layers_by_hand():
    """π_s = π_t = 1, one step: a layer doubles; the line around two of them adds 1; then a layer without a line."""
    counts = log_chains_by_place(3, 1, "off", 0.0, lines=[2]).exp().flatten()
    assert counts.tolist() == pytest.approx([2, 5, 10])


@pytest.mark.parametrize(("kind", "p"), SWITCHES)
def test_expectation_with_lines_is_that_of_a_layer_with_one_path_more(kind, p):
    s, t = open_shares(kind, p)  # a line around each layer: π_s + 1 in π_s's place
    L, T = 5, 6
    wanted = sum(math.comb(L, j) * (s + 1) ** (L - j) * t**j * math.comb(T - 1 + j, j) for j in range(L + 1))
    got = log_chains_by_place(L, T, kind, p, lines=[1] * L)[-1].exp().sum()
    assert math.isclose(got, wanted, rel_tol=1e-12)


def test_table():
    rows = chain_table([1, 3], [2, 4], [0.0, 0.5])
    assert len(rows) == 2 * 2 * 3
    row = next(r for r in rows if (r["kind"], r["p"], r["layers"], r["steps"]) == ("two_sided", 0.5, 3, 4))
    assert math.isclose(row["chains"], closed_form(3, 4, "two_sided", 0.5))
    assert math.isclose(row["log10_chains"], math.log10(row["chains"]))
    plain = next(r for r in rows if (r["kind"], r["layers"], r["steps"]) == ("off", 3, 4))
    assert math.isclose(plain["chains"], closed_form(3, 4, "off", 0.0))


def test_refusals():
    with pytest.raises(ValueError, match="at least one layer"):
        log_expected_chains(0, 3, "off", 0.0)
    with pytest.raises(ValueError, match="probability"):
        log_expected_chains(2, 3, "two_sided", 2.0)
