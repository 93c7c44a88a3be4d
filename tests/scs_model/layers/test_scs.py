from functools import partial

import numpy as np
import pytest
import torch
from by_numpy import action, outline, weights
from torch import nn

from scs_model.layers import recurrence
from scs_model.layers.action import ActionSCS
from scs_model.layers.convgru import ConvGRU
from scs_model.layers.convlstm import ConvLSTM
from scs_model.layers.scs import SCS
from scs_model.layers.semi_coupled import SemiCoupled
from scs_model.layers.stack import Stack
from scs_model.layers.trajgru import TrajGRU

SEQUENCES = [SCS(3, 4), ActionSCS(3, 4), ConvLSTM(3, 4), ConvGRU(3, 4), TrajGRU(3, 4)]


def random(*shape, requires_grad=False):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=requires_grad)


def close(ours, theirs):
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-9, atol=1e-11)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(1)


@pytest.fixture(params=[1, 2, 9], ids="chunks of {} frames".format)
def chunk(request, monkeypatch):
    """However many time steps are convolved at once, nothing else changes. Sizes: B 2, 4 channels, 6 × 6."""
    monkeypatch.setattr(recurrence, "CACHED", request.param * 2 * 4 * 6 * 6)


@pytest.fixture(params=["fast", "plain"])
def road(request, monkeypatch):
    """The recurrence by hand and the one for compilers are two ways to say the same."""
    if request.param == "plain":
        monkeypatch.setattr(SCS, "_run", SemiCoupled._run)


def settle(layer):
    """Move a batch norm's statistics and weights from where they start."""
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            for name, statistic in module.named_buffers():
                if name.endswith("_mean"):
                    statistic.normal_()
                elif name.endswith("_var"):
                    statistic.uniform_(0.5, 2)
    return layer


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("with_state", [False, True])
def test_outline_is_the_recurrence(chunk, road, kernel, with_state):
    layer, x = SCS(3, 4, kernel).double(), random(5, 2, 3, 6, 6)
    c_0 = random(2, 4, 6, 6).sigmoid() if with_state else None
    h, c = layer(x, c_0, None)
    wanted_h, wanted_c, *_ = outline(layer, x.numpy(), None if c_0 is None else c_0.numpy())
    close(h, wanted_h)
    close(c, wanted_c)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (7, 2), (3, 2)])
@pytest.mark.parametrize("training", [False, True])
def test_action_is_the_recurrence(kernel, stride, training):
    layer = settle(ActionSCS(3, 4, kernel, stride).double()).train(training)
    x, c_0 = random(4, 2, 3, 6, 8), random(2, 4, 6, 8).sigmoid()
    wanted_h, wanted_c, *_ = action(layer, x.numpy(), c_0.numpy(), training=training)
    h, c = layer(x, c_0)
    close(h, wanted_h)
    close(c, wanted_c)


def test_action_statistics_are_each_streams():
    layer, x = ActionSCS(3, 4).double(), random(3, 2, 3, 6, 6)
    layer.spatial_stream(2 * x)
    raw = layer.spatial(2 * x.flatten(0, 1)).transpose(0, 1).flatten(1)
    torch.testing.assert_close(layer.spatial_norm.aside_mean, 0.1 * raw.mean(1))
    torch.testing.assert_close(layer.spatial_norm.aside_var, 0.9 + 0.1 * raw.var(1))
    layer.temporal_stream(x)
    assert (layer.spatial_norm.running_mean == 0).all() and (layer.gate_norm.running_var == 1).all()
    layer(x)
    raw = layer.spatial(x.flatten(0, 1)).transpose(0, 1).flatten(1)
    torch.testing.assert_close(layer.spatial_norm.running_mean, 0.1 * raw.mean(1))
    torch.testing.assert_close(layer.spatial_norm.running_var, 0.9 + 0.1 * raw.var(1))
    assert layer.gate_norm.num_batches_tracked == 3, "the gate normalises each time step"


@pytest.mark.parametrize("layer", SEQUENCES, ids=lambda layer: type(layer).__name__)
def test_whole_or_in_pieces_is_the_same(layer):
    layer = settle(layer.double()).eval()
    x = random(7, 2, 3, 6, 6)
    whole, last = layer(x)
    for length in (1, 3):
        state, pieces = None, []
        for clip in x.split(length):
            h, state = layer(clip, state)
            pieces.append(h)
        torch.testing.assert_close(torch.cat(pieces), whole)
        torch.testing.assert_close(state, last)


def test_outline_gradient_by_differences(chunk):
    layer = SCS(2, 3).double()
    x, c_0 = random(3, 2, 2, 3, 4, requires_grad=True), random(2, 3, 3, 4, requires_grad=True)

    def run(x, c_0, *parameters):
        return layer(x, c_0)

    assert torch.autograd.gradcheck(run, (x, c_0, *layer.parameters()))
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], (x,))
    assert torch.autograd.gradcheck(lambda x: layer(x)[1], (x,))


def test_action_gradient_by_differences():
    layer = ActionSCS(2, 2, stride=2).double()
    x = random(2, 2, 2, 4, 4, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


def naive(layers, x, open_paths):
    """The loop over time with `detach`, as one would write it from the formulas."""
    states, out = [None] * len(layers), []
    for t, z in enumerate(x):
        for index, layer in enumerate(layers):
            spatial, temporal = open_paths[index][t]
            S = torch.tanh(layer.spatial(z if spatial else z.detach()))
            u = layer.temporal(z if temporal else z.detach())
            if states[index] is not None:
                u = u + layer.state(states[index])
            states[index] = torch.sigmoid(u)
            z = S * states[index]
        out.append(z)
    return torch.stack(out)


@pytest.mark.parametrize("pattern", ["drawn", "spatial", "temporal", "neither", "all"])
def test_switched_gradient_is_the_naive_loops(chunk, road, pattern):
    stack = Stack([SCS(3, 4), SCS(4, 4), SCS(4, 4)]).double()
    open_paths = torch.rand(3, 6, 2) < 0.5
    if pattern != "drawn":
        open_paths[:] = torch.tensor([pattern in ("spatial", "all"), pattern in ("temporal", "all")])
    x = random(6, 2, 3, 6, 6, requires_grad=True)
    weight = random(6, 2, 4, 6, 6)
    inputs = [x, *stack.parameters()]
    ours = torch.autograd.grad((stack(x, None, open_paths)[0] * weight).sum(), inputs, allow_unused=True)
    theirs = torch.autograd.grad(
        (naive(stack.layers, x, open_paths.tolist()) * weight).sum(), inputs, allow_unused=True
    )
    for our, their in zip(ours, theirs, strict=True):
        their = torch.zeros_like(our) if their is None else their
        torch.testing.assert_close(our, their, rtol=1e-9, atol=1e-11)


def test_action_stops_what_is_closed():
    """Each path's gradient alone: what is left when the other path's input is detached at every time."""
    layer, x = ActionSCS(3, 4, stride=2).double(), random(3, 2, 3, 6, 6, requires_grad=True)
    weight = random(3, 2, 4, 3, 3)

    def gradient(open_paths):
        return torch.autograd.grad((layer(x, None, open_paths)[0] * weight).sum(), x)[0]

    always, never = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    spatial, temporal = torch.stack([always, never], -1), torch.stack([never, always], -1)
    plain = gradient(None)
    torch.testing.assert_close(gradient(spatial) + gradient(temporal), plain)
    mixed = torch.stack([spatial[0], temporal[1], torch.tensor([False, False])])
    wanted = torch.stack([gradient(spatial)[0], gradient(temporal)[1], torch.zeros_like(x[2])])
    torch.testing.assert_close(gradient(mixed), wanted)
    # The weights' gradients and those through time are never stopped.
    shut = torch.autograd.grad((layer(x, None, mixed)[0] * weight).sum(), list(layer.parameters()))
    free = torch.autograd.grad((layer(x)[0] * weight).sum(), list(layer.parameters()))
    torch.testing.assert_close(shut, free)


@pytest.mark.parametrize("training", [False, True])
def test_subtask_streams_are_the_recurrence(training):
    layers = [ActionSCS(3, 4, 7, 2), SCS(4, 4), ActionSCS(4, 4, 3, 1)]
    stack = settle(Stack(layers, residual=True).double()).train(training)
    x = random(4, 2, 3, 8, 8)
    streams = {name: x.numpy() for name in ("main", "spatial", "temporal")}
    for layer in layers:
        for name, output in (("main", 0), ("spatial", 2), ("temporal", 3)):
            z = streams[name]
            statistics = "running" if name == "main" else "aside"
            run = outline if isinstance(layer, SCS) else partial(action, training=training, statistics=statistics)
            h = run(layer, z)[output]
            streams[name] = h + z if z.shape == h.shape else h
    close(stack.spatial_stream(x), streams["spatial"])
    close(stack.temporal_stream(x)[0], streams["temporal"])
    close(stack(x)[0], streams["main"])


def test_temporal_stream_carries_its_state():
    stack = Stack([SCS(3, 4), SCS(4, 4)]).double()
    x = random(5, 2, 3, 6, 6)
    whole, _ = stack.temporal_stream(x)
    first, states = stack.temporal_stream(x[:2])
    second, _ = stack.temporal_stream(x[2:], states)
    torch.testing.assert_close(torch.cat([first, second]), whole)


def test_a_frozen_layer_still_passes_the_gradient_on():
    layer, x = SCS(3, 4).double(), random(3, 2, 3, 6, 6, requires_grad=True)
    (free,) = torch.autograd.grad(layer(x)[0].sum(), x)
    (frozen,) = torch.autograd.grad(layer.requires_grad_(False)(x)[0].sum(), x)
    torch.testing.assert_close(frozen, free)


@pytest.mark.parametrize("layer", SEQUENCES, ids=lambda layer: type(layer).__name__)
def test_refusals(layer):
    with pytest.raises(ValueError, match="five dimensions; got 4"):
        layer(torch.zeros(2, 3, 6, 6))
    with pytest.raises(ValueError, match="3 channels; got 2"):
        layer(torch.zeros(2, 1, 2, 6, 6))
    with pytest.raises(ValueError, match="at least one frame"):
        layer(torch.zeros(0, 1, 3, 6, 6))
    with pytest.raises(ValueError, match="at least one sample"):
        layer(torch.zeros(2, 0, 3, 6, 6))


def test_refusals_of_strides_and_draws():
    with pytest.raises(ValueError, match="divisible by the stride 2; got 7×6"):
        ActionSCS(3, 4, stride=2)(torch.zeros(2, 1, 3, 7, 6))
    with pytest.raises(ValueError, match=r"open_paths has shape \(2, 2\); got \(3, 2\)"):
        SCS(3, 4)(torch.zeros(2, 1, 3, 6, 6), None, torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="only SCS layers"):
        Stack([ConvLSTM(3, 4)])(torch.zeros(2, 1, 3, 6, 6), None, torch.ones(1, 2, 2, dtype=torch.bool))


def test_parameters_are_those_of_the_formulas():
    assert {name: value.shape for name, value in weights(SCS(3, 4, 5)).items()} == {
        "spatial.weight": (4, 3, 5, 5),
        "spatial.bias": (4,),
        "temporal.weight": (4, 3, 5, 5),
        "temporal.bias": (4,),
        "state.weight": (4, 4, 5, 5),
    }
