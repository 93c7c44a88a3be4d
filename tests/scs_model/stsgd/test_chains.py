import itertools
import math

import pytest
import torch

from scs_model.stsgd.chains import chain_table, log_expected_chains
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
