"""Two processes of a distributed run (gloo)."""

import os

import torch
import torch.distributed as dist
from torch.multiprocessing import spawn
from torch.nn.parallel import DistributedDataParallel

from scs_model import EncoderForecaster
from scs_model.stsgd.adaptive import AdaptiveSwitch
from scs_model.stsgd.switch import draw_open_paths

RANKS = 2


def build():
    torch.manual_seed(0)
    network = EncoderForecaster("scs", [4, 4], 3, 2, leads=2, subtasks=True)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    return network


def run_step(network, rank, p, step):
    """One rank's losses: its own batch, and the rain of each rank is another; its own draw."""
    x = torch.rand(2, 3, 1, 32, 32, generator=torch.Generator().manual_seed(10 * step + rank)) ** (1 + rank)
    open_paths = draw_open_paths("two_sided", p, seed=1, step=step, rank=rank, layers=2, steps=5)
    streams = network(x, 2, open_paths=open_paths, with_subtasks=True)
    main, t1 = streams.forecast.square().mean(), (streams.reconstruction - x[:, -1:]).square().mean()
    return main, t1, main + 0.1 * t1 + 0.1 * streams.motion.square().mean()


def train(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    network, switch = DistributedDataParallel(build()), AdaptiveSwitch(warmup=2)
    ps, first = [], None
    for step in range(3):
        main, t1, loss = run_step(network, rank, switch.p, step)
        network.zero_grad()
        loss.backward()
        first = first or [parameter.grad.clone() for parameter in network.parameters()]
        ps.append(switch.update(main / 3, t1))  # a third, or p would be clipped to 1 on every rank, whatever it saw
    torch.save((ps, first), os.path.join(folder, f"{rank}.pt"))  # noqa: PTH118
    dist.destroy_process_group()


def test_ranks_agree_and_average_their_gradients(tmp_path):
    spawn(train, (str(tmp_path),), nprocs=RANKS)
    (ps, grads), (other_ps, other_grads) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS))
    assert ps == other_ps and all(0.5 < p < 1 for p in ps)
    network = build()
    per_rank, losses = [], []
    for rank in range(RANKS):
        main, t1, loss = run_step(network, rank, 1.0, 0)
        losses.append((main.item(), t1.item()))
        per_rank.append(torch.autograd.grad(loss, list(network.parameters())))
    for grad, other, one, two in zip(grads, other_grads, *per_rank, strict=True):
        torch.testing.assert_close(grad, other)
        torch.testing.assert_close(grad, (one + two) / 2)
    # The p of the first step, from the mean losses: 0.5 + 0.5 · ((L / L1 - 1) + 1).
    mean_main, mean_t1 = (sum(pair) / RANKS for pair in zip(*losses, strict=True))
    assert abs(ps[0] - (0.5 + 0.5 * mean_main / 3 / mean_t1)) < 1e-5
    assert all(abs(ps[0] - (0.5 + 0.5 * main / 3 / t1)) > 1e-3 for main, t1 in losses), (
        "one rank's own losses give another"
    )
    assert losses[0] != losses[1]
