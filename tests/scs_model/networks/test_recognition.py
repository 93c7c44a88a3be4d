"""The stand-alone network against numpy, against a loop over frames, and against what is known of its streams."""

import itertools

import numpy as np
import pytest
import torch
from by_numpy import action, conv
from torch import nn

from scs_model.layers.convlstm import ConvLSTM
from scs_model.networks.plan import plan_layers
from scs_model.networks.recognition import Recognizer
from scs_model.networks.regression import CELLS, Regressor
from scs_model.stsgd.subtasks import flow_error
from scs_model.stsgd.switch import draw_open_paths


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(3)


def settle(network):
    """Move the batch norms' statistics and weights from where they start."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.3)
            for name, statistic in module.named_buffers():
                if name.endswith("_mean"):
                    statistic.normal_(std=0.3)
                elif name.endswith("_var"):
                    statistic.uniform_(0.5, 2)
    return network


def clip(T=4, B=2, size=32):
    return torch.randn(T, B, 3, size, size, dtype=torch.float64)


def scs(depth=9, width=2, classes=5):
    return settle(Recognizer("scs", depth, width, classes, subtasks=True).double())


def test_depth_17_is_the_papers_network():
    plan = plan_layers(17, 64)
    assert [layer.channels for layer in plan] == [64] * 5 + [128] * 4 + [256] * 4 + [512] * 4
    assert [number for number, layer in enumerate(plan, 1) if layer.stride == 2] == [1, 6, 10, 14]
    assert [layer.kernel for layer in plan] == [7] + [3] * 16
    assert [layer.in_channels for layer in plan] == [3, *(layer.channels for layer in plan[:-1])]


def test_other_depths_have_the_same_scales():
    assert [layer.channels for layer in plan_layers(9, 8)] == [8, 8, 8, 16, 16, 32, 32, 64, 64]
    assert [layer.stride for layer in plan_layers(9, 8)] == [2, 1, 1, 2, 1, 2, 1, 2, 1]
    assert [layer.channels for layer in plan_layers(2, 8)] == [8, 8]


def test_parameters_of_the_papers_network_are_those_of_the_formulas():
    """W_s, W_x and W_c without biases, two batch norms; shortcuts at the three changes; one classifier."""
    channels = [3] + [64] * 5 + [128] * 4 + [256] * 4 + [512] * 4
    layers = sum(a * b * (49 if a == 3 else 9) + a * b * 9 + b * b * 9 + 4 * b for a, b in itertools.pairwise(channels))
    wanted = layers + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 400 + 400
    assert sum(p.numel() for p in Recognizer("scs", 17, 64, 400).parameters()) == wanted


def by_numpy(network, x, stream, training):
    """One stream written out: its features after the last layer, and after each layer."""
    z, outputs = x.numpy(), []
    statistics = "running" if stream == "main" else "aside"
    for index, layer in enumerate(network.layers):
        if index % 2:
            line = z
        said = action(layer, z, training=training, statistics=statistics)
        z = said[{"main": 0, "spatial": 2, "temporal": 3}[stream]]
        if index == 0:
            padded = np.pad(z, ((0, 0),) * 3 + ((1, 1),) * 2, constant_values=-np.inf)
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(3, 4))
            z = windows[:, :, :, ::2, ::2].max((-2, -1))
        elif index % 2 == 0:
            shortcut = network.shortcuts[index // 2 - 1]
            if isinstance(shortcut, nn.Conv2d):
                W = shortcut.weight.detach().numpy()
                line = np.stack([conv(f, W, stride=f.shape[-1] // z.shape[-1]) for f in line])
            z = z + line
        outputs.append(z)
    return outputs


def classified(network, features):
    """Log-probabilities of averaged features, by the formula."""
    W, b = network.classifier.weight.detach().numpy(), network.classifier.bias.detach().numpy()
    scores = features.mean((-2, -1)) @ W.T + b
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


@pytest.mark.parametrize("training", [False, True])
def test_streams_are_those_of_the_formulas(training):
    network, x = scs().train(training), clip()
    wanted = {stream: by_numpy(network, x, stream, training) for stream in ("main", "spatial", "temporal")}
    said, _ = network(x, with_subtasks=True)

    def close(ours, theirs):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-8, atol=1e-10)

    close(said.main, classified(network, wanted["main"][-1]))
    close(said.spatial, classified(network, wanted["spatial"][-1]))
    close(said.motion, wanted["temporal"][-1].mean((-2, -1)))
    # Heads at the end of each scale: after layers 3, 5, 7 and 9, at 1/4 to 1/32 of 32 pixels.
    assert [flow.shape for flow in said.flows] == [(4, 2, 2, side, side) for side in (8, 4, 2, 1)]
    for flow, head, index in zip(said.flows, network.flow_heads.values(), (2, 4, 6, 8), strict=True):
        W, b = head.weight.detach().numpy(), head.bias.detach().numpy()
        close(flow, np.stack([conv(z, W, b) for z in wanted["temporal"][index]]))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("depth", [1, 2, 4, 9])
def test_whole_or_frame_by_frame_is_the_same(cell, depth):
    network = settle(Recognizer(cell, depth, 2, 5).double()).eval()
    x = clip(T=5)
    whole, _ = network(x)
    states, frames = None, []
    for frame in x:
        said, states = network(frame[None], states)
        frames.append(said)
    torch.testing.assert_close(torch.cat(frames), whole)
    torch.testing.assert_close(whole.exp().sum(-1), torch.ones(5, 2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_subtasks_carry_a_state_of_their_own():
    network, x = scs().eval(), clip(T=5)
    whole, _ = network(x, with_subtasks=True)
    first, states = network(x[:2], with_subtasks=True)
    second, _ = network(x[2:], states, with_subtasks=True)
    for ours, *parts in zip(whole.flows, first.flows, second.flows, strict=True):
        torch.testing.assert_close(torch.cat(parts), ours)
    torch.testing.assert_close(torch.cat([first.motion, second.motion]), whole.motion)
    torch.testing.assert_close(network(x)[0], whole.main)


@pytest.mark.parametrize("training", [False, True])
def test_t1_knows_no_time_and_the_others_do(training):
    network, x = scs().train(training), clip(T=6)
    order = torch.randperm(6)
    said, _ = network(x, with_subtasks=True)
    shuffled, _ = network(x[order], with_subtasks=True)
    torch.testing.assert_close(shuffled.spatial, said.spatial[order])
    assert not torch.allclose(shuffled.main, said.main[order])
    assert not torch.allclose(shuffled.motion, said.motion[order])


def test_switched_gradient_is_that_of_a_loop_over_frames():
    """In eval mode, where one frame's normalisation is every frame's; residual lines are never stopped."""
    network, x = scs(depth=4).eval(), clip().requires_grad_()
    open_paths = draw_open_paths("two_sided", 0.5, seed=1, step=0, rank=0, layers=4, steps=4)
    assert not open_paths.all()
    weight = torch.randn(4, 2, 5)

    states, said = [None] * 4, []
    for t, frame in enumerate(x):
        z = line = frame
        for index, layer in enumerate(network.layers):
            line = z if index % 2 else line
            spatial, temporal = open_paths[index, t].tolist()
            S = layer.spatial_norm(layer.spatial(z if spatial else z.detach())).relu()
            u = layer.temporal(z if temporal else z.detach())
            if states[index] is not None:
                u = u + layer.state(states[index])
            c = states[index] = layer.gate_norm(u).sigmoid()
            z = S * (nn.functional.max_pool2d(c, 2) if layer.stride == 2 else c)
            if index == 0:
                z = nn.functional.max_pool2d(z, 3, 2, 1)
            elif index == 2 or index == 3:
                z = z + network.shortcuts[(index - 1) // 2](line)
        said.append(network.classifier(z.mean((-2, -1))).log_softmax(-1))
    inputs = [p for name, p in network.named_parameters() if "flow_heads" not in name] + [x]
    theirs = torch.autograd.grad((torch.stack(said) * weight).sum(), inputs)
    ours = torch.autograd.grad((network(x, open_paths=open_paths)[0] * weight).sum(), inputs)
    plain = torch.autograd.grad((network(x)[0] * weight).sum(), inputs)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-8, atol=1e-10)
    assert not torch.allclose(ours[-1], plain[-1])


def test_a_strided_convlstm_halves_the_grid():
    layer = ConvLSTM(3, 4, 3, 2).double()
    x = clip(T=2, size=6)
    h, (_, c) = layer(x)
    assert h.shape == (2, 2, 4, 3, 3) and c.shape == (2, 4, 3, 3)
    i, _, o, g = np.split(
        conv(x[0].numpy(), layer.input.weight.detach().numpy(), layer.input.bias.detach().numpy(), stride=2), 4, axis=1
    )
    sigma = lambda u: 1 / (1 + np.exp(-u))  # noqa: E731
    np.testing.assert_allclose(h[0].detach().numpy(), sigma(o) * np.tanh(sigma(i) * np.tanh(g)), rtol=1e-9)


def test_flow_error_by_hand():
    target = torch.zeros(1, 1, 2, 4, 4)
    target[0, 0, 0] = 1.0  # one cell to the right a frame
    target[0, 0, 1, :2] = 2.0  # and two down in the upper half
    fine, coarse = torch.zeros(3, 1, 2, 4, 4), torch.zeros(3, 1, 2, 2, 2)
    # The mean square is that of 1 and (4 + 0) / 2 in both, halves being whole cells of the coarse one: 1.5.
    assert flow_error([fine, coarse], target) == pytest.approx(1.0)
    fine[-1, 0, 0] = 1.5**-0.5  # x is right everywhere
    assert flow_error([fine, coarse], target) == pytest.approx((1 / 1.5 + 1) / 2)
    coarse[-1, 0, 0], coarse[-1, 0, 1, 0] = 1.5**-0.5, 2 * 1.5**-0.5
    assert flow_error([coarse], target) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(flow_error([fine], 0.03 * target), flow_error([fine], target))
    assert flow_error([0 * fine], 0.001 * target) == pytest.approx(1.5e-6 / 1e-4)  # all but still: not blown up
    with pytest.raises(ValueError, match="t from 1 to T"):
        flow_error([fine], target.expand(4, -1, -1, -1, -1))


def test_refusals():
    with pytest.raises(ValueError, match="'lstm' is none of scs, convlstm, cnn, cnn_lstm"):
        Recognizer("lstm", 2, 2, 5)
    with pytest.raises(ValueError, match="depth and width are 1 or more; got 0 and 2"):
        Recognizer("scs", 0, 2, 5)
    with pytest.raises(ValueError, match="two classes or more"):
        Recognizer("scs", 2, 2, 1)
    with pytest.raises(ValueError, match="only SCS layers"):
        Recognizer("convlstm", 2, 2, 5, subtasks=True)
    with pytest.raises(ValueError, match="without subtasks"):
        Recognizer("scs", 2, 2, 5)(torch.zeros(1, 1, 3, 8, 8), with_subtasks=True)
    with pytest.raises(ValueError, match="divisible by the stride 32; got 48×32"):
        Recognizer("scs", 17, 2, 5)(torch.zeros(1, 1, 3, 48, 32))
    with pytest.raises(ValueError, match=r"open_paths has shape \(2, 1, 2\)"):
        Recognizer("scs", 2, 2, 5)(torch.zeros(1, 1, 3, 8, 8), open_paths=torch.ones(3, 1, 2, dtype=torch.bool))


@pytest.mark.parametrize("cell", CELLS)
def test_a_regressor_says_a_linear_function_of_what_is_in_each_part_of_the_width(cell):
    network = settle(Regressor(cell, 5, 2, 1, columns=3)).double().eval()
    x = torch.randn(3, 2, 3, 32, 96, dtype=torch.float64)
    said, _ = network(x)
    assert said.shape == (3, 2, 1)
    parts = network._features(torch.arange(6.0).reshape(1, 1, 1, 1, 6))
    assert parts.flatten().tolist() == [0.5, 2.5, 4.5]
    if cell == "cnn":  # no memory: each frame by itself
        alone, _ = network(x[1:2])
        torch.testing.assert_close(said[1:2], alone)
    mirrored, _ = network(x.flip(-1))
    assert not torch.allclose(said, mirrored)
    with pytest.raises(ValueError, match="3 columns, which 2 parts"):
        Regressor(cell, 5, 2, 1, columns=2)(x.float())
    with pytest.raises(ValueError, match="1 or more; got 1 and 0"):
        Regressor(cell, 5, 2, 1, columns=0)


def test_one_part_of_the_width_is_the_recogniser():
    torch.manual_seed(5)
    one = Recognizer("scs", 5, 2, 4, subtasks=True).eval()
    torch.manual_seed(5)
    other = Regressor("scs", 5, 2, 4, subtasks=True).eval()
    x = clip().float()
    said, numbers = (network(x, with_subtasks=True)[0] for network in (one, other))
    torch.testing.assert_close(said.main, numbers.main.log_softmax(-1))
    torch.testing.assert_close(said.spatial, numbers.spatial.log_softmax(-1))
    torch.testing.assert_close(said.motion, numbers.motion)
