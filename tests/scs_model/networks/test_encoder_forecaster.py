import math

import pytest
import torch
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from torch.utils.checkpoint import checkpoint

from scs_model import EncoderForecaster
from scs_model.layers.action import ActionSCS
from scs_model.layers.scs import SCS
from scs_model.layers.stack import Stack
from scs_model.networks import cascade
from scs_model.networks.describe import describe
from scs_model.networks.encoder_forecaster import CELLS, CHANGE
from scs_model.stsgd.subtasks import motion_error
from scs_model.stsgd.switch import draw_open_paths

SHAPE = {"widths": [6, 4], "kernel": 3, "downsample": 2, "leads": 5}


def build(cell="scs", **changes):
    torch.manual_seed(1)
    network = EncoderForecaster(cell, **{**SHAPE, **changes})
    torch.nn.init.normal_(network.head.weight, std=0.1)
    return network


def draws(network, steps, step=0):
    return draw_open_paths("two_sided", 0.5, seed=1, step=step, rank=0, layers=network.switch_layers, steps=steps)


@pytest.mark.parametrize("cell", CELLS)
def test_mlcasts_call_and_ours(cell):
    network = build(cell).eval()
    x = torch.rand(2, 3, 1, 64, 32)
    y = network(x, 5)
    assert y.shape == (2, 5, 1, 64, 32)
    assert torch.equal(network(x, 5, 1), y)
    assert torch.equal(network(x, steps=5, ensemble_size=1), y)
    assert torch.equal(network.forecast(x.transpose(0, 1), 5), y.transpose(0, 1))
    assert not torch.allclose(y[:, 1], y[:, 4]), "lead times differ"
    torch.testing.assert_close(network(x, 2), y[:, :2])


@pytest.mark.parametrize("cell", CELLS)
def test_untrained_it_forecasts_persistence(cell):
    network = EncoderForecaster(cell, **SHAPE)
    x = torch.rand(1, 3, 1, 32, 32)
    torch.testing.assert_close(network(x, 4), x[:, -1:].expand(-1, 4, -1, -1, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("coordinates", ["moving", "fixed"])
def test_layer_by_layer(coordinates):
    """Forecaster layers in reverse, each going on with the state and the draws of its encoder layer."""
    network = build(widths=[6, 5, 4], residual=True, coordinates=coordinates)
    x, steps = torch.rand(2, 3, 1, 32, 32, requires_grad=True), 4
    open_paths = torch.rand(3, 7, 2) < 0.5
    z = torch.stack([network.stem(pixel_unshuffle(frame, 2)) for frame in x.transpose(0, 1)])
    z = torch.where(z > 0, z, 0.2 * z)
    states = []
    for index, layer in enumerate(network.encoder.layers):
        h, c = layer(z, None, open_paths[index, :3])
        z = h + z if index == 0 else h
        states.append(c)
    z = torch.stack([z[-1] + network.lead(torch.tensor([k / 5]))[:, None, None] for k in range(1, steps + 1)])
    for index, layer in zip((2, 1, 0), network.forecaster.layers, strict=True):
        h, _ = layer(z, states[index], open_paths[index, 3:])
        z = h + z if index == 2 else h
    if coordinates == "fixed":
        wanted = torch.stack([pixel_shuffle(network.head(frame), 2) for frame in z], 1)
    else:
        changes = [CHANGE * k / 5 * network.head(frame) for k, frame in enumerate(z, 1)]
        weights = network.weights[:steps, None, :, None, None] + torch.stack(changes)
        wanted = cascade.recompose(weights, *cascade.cascade(x[:, -2:, 0], 2)).transpose(0, 1)
    y = network(x, steps, open_paths=open_paths)
    torch.testing.assert_close(y, wanted)
    inputs = [x, *network.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(y.square().mean(), inputs), torch.autograd.grad(wanted.square().mean(), inputs)
    )


def test_in_fixed_coordinates_nothing_lies_beneath_what_the_head_says():
    network = build(coordinates="fixed")
    assert "weights" not in network.state_dict()
    assert network(torch.rand(1, 1, 1, 6, 10), 5).shape == (1, 5, 1, 6, 10)  # one frame will do, and whole cells
    for parameter in network.head.parameters():
        torch.nn.init.zeros_(parameter)
    assert not network(torch.rand(1, 3, 1, 32, 32), 5).any()
    with pytest.raises(ValueError, match="divisible by 2; got 5×32"):
        network(torch.rand(1, 3, 1, 5, 32), 5)


@pytest.mark.parametrize(("cell", "coordinates"), [("scs", "moving"), ("scs_action", "moving"), ("scs", "fixed")])
def test_subtasks(cell, coordinates):
    network = build(cell, subtasks=True, coordinates=coordinates)
    x = torch.rand(2, 3, 1, 64, 32)
    streams = network(x, 5, with_subtasks=True, open_paths=draws(network, 8))
    assert streams.reconstruction.shape == (2, 1, 1, 64, 32)
    assert streams.motion.shape == (2, 5, 2, 32, 16)
    if cell == "scs":  # a batch norm's statistics move from one call to the next
        assert torch.equal(streams.forecast, network(x, 5))
    # T¹ sees the newest frame alone, and only W_s; T² only W_x and W_c, in every layer.
    for output, learns in ((streams.reconstruction, {"spatial"}), (streams.motion, {"temporal", "state"})):
        layers = [*network.encoder.layers, *network.forecaster.layers]
        for layer in layers:
            for name in ("spatial", "temporal", "state"):
                weight = getattr(layer, name).weight
                (grad,) = torch.autograd.grad(output.sum(), weight, allow_unused=True, retain_graph=True)
                assert (grad is not None and bool(grad.abs().max() > 0)) == (name in learns), name
    older = x.clone()
    older[:, :-1] = 0
    torch.testing.assert_close(network(older, 5, with_subtasks=True).reconstruction, streams.reconstruction)


def test_subtasks_cost_nothing_when_off():
    plain, with_heads = build(), build(subtasks=True)
    extra = with_heads.state_dict().keys() - plain.state_dict().keys()
    assert {name.split(".")[0] for name in extra} == {"reconstruction_head", "motion_head"}
    calls = []
    for module in with_heads.modules():
        module.register_forward_hook(lambda module, *_: calls.append(module))
    with_heads(torch.rand(1, 2, 1, 32, 32), 2)
    assert with_heads.motion_head not in calls and with_heads.reconstruction_head not in calls
    with pytest.raises(ValueError, match="built without subtasks"):
        plain(torch.rand(1, 2, 1, 32, 32), 2, with_subtasks=True)


def test_motion_error_by_hand():
    motion = torch.zeros(1, 1, 2, 1, 2)
    motion[0, 0, :, 0, 0] = torch.tensor([1.0, -1.0])
    target = torch.full((1, 1, 2, 2, 4), float("nan"))
    echo = torch.zeros(1, 1, 1, 2, 4, dtype=torch.bool)
    assert motion_error(motion, target, echo) == 0
    target[0, 0, :, 0, 0], target[0, 0, :, 1, 1] = torch.tensor([4.0, 0.0]), torch.tensor([2.0, 2.0])
    echo[0, 0, 0, 0, 0] = echo[0, 0, 0, 1, 1] = True
    # Half a cell of echo, which counts as one at least: its motion is (3, 1) pixels, of 2 to a cell: (1.5, 0.5).
    rms = ((1.5**2 + 0.5**2) * 0.5 / 1.0) ** 0.5
    error = ((1 - 1.5 / rms) ** 2 + (-1 - 0.5 / rms) ** 2) * 0.5 / 1.0
    assert motion_error(motion, target, echo).item() == pytest.approx(error)
    assert motion_error(0 * motion, target, echo).item() == pytest.approx(1.0)
    assert motion_error(motion, 0.1 * target, echo).item() == pytest.approx(error), "however small it is"
    with pytest.raises(ValueError, match="target"):
        motion_error(motion, target[..., :3], echo)


@pytest.mark.parametrize(
    ("x", "call", "reason"),
    [
        (torch.zeros(3, 1, 32, 32), {}, "five dimensions; got 4"),
        (torch.zeros(1, 3, 2, 32, 32), {}, "1 channel; got 2"),
        (torch.zeros(1, 3, 1, 32, 40), {}, "divisible by 32; got 32×40: pad"),
        (torch.zeros(1, 0, 1, 32, 32), {}, "at least one frame in"),
        (torch.zeros(1, 1, 1, 32, 32), {}, "got 2 out of 1"),
        (torch.zeros(1, 3, 1, 32, 32), {"steps": 6}, "up to 5 frames .* got 6 out of 3"),
        (torch.zeros(1, 3, 1, 32, 32), {"steps": 0}, "one out"),
        (torch.zeros(0, 3, 1, 32, 32), {}, "at least one sample, .* got 0 of 32×32"),
        (torch.zeros(1, 3, 1, 0, 32), {}, "got 1 of 0×32"),
        (torch.zeros(1, 3, 1, 32, 32).long(), {}, "floating point; got torch.int64"),
        (torch.full((1, 3, 1, 32, 32), math.nan), {}, "NaN or infinite"),
        (torch.zeros(1, 3, 1, 32, 32), {"ensemble_size": 4}, "no ensemble; got ensemble_size 4"),
        (torch.zeros(1, 3, 1, 32, 32), {"open_paths": torch.ones(2, 3, 2).bool()}, r"shape \(2, 5, 2\)"),
    ],
)
def test_refusals(x, call, reason):
    with pytest.raises(ValueError, match=reason):
        build()(x, **{"steps": 2, **call})


def test_draws_for_a_network_that_has_nothing_to_switch_are_refused():
    network, x = build("convlstm"), torch.zeros(1, 3, 1, 32, 32)
    with pytest.raises(ValueError, match=r"shape \(0, 5, 2\); got \(2, 5, 2\)"):
        network(x, 2, open_paths=torch.ones(2, 5, 2).bool())
    network(x, 2, open_paths=draws(network, 5))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cell": "lstm"}, "'lstm' is none of scs"),
        ({"widths": []}, "one layer or more"),
        ({"widths": [4, 0]}, "one layer or more"),
        ({"kernel": 4}, "odd"),
        ({"downsample": 0}, "1, 2, 4 or 8; got 0"),
        ({"downsample": 3}, "1, 2, 4 or 8; got 3"),
        ({"leads": 0}, "1 or more; got 0"),
        ({"cell": "convlstm", "subtasks": True}, "convlstm is none"),
        ({"coordinates": "polar"}, "moving or fixed; got 'polar'"),
        ({"coordinates": "fixed", "thresholds": [1.0]}, "give no thresholds"),
    ],
)
def test_no_network_from_these(changes, reason):
    with pytest.raises(ValueError, match=reason):
        build(**changes)


@pytest.mark.parametrize("cell", CELLS)
def test_autocast(cell):
    network = build(cell)
    x = torch.rand(2, 3, 1, 32, 32)
    exact = network(x, 4)
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x, 4, open_paths=draws(network, 7) if network.switch_layers else None)
    assert (y - exact).abs().max() < 0.05 * exact.abs().max()
    y.float().square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32, name
        assert parameter.grad.isfinite().all()


def test_autocast_sums_gradients_in_float32():
    """2000 terms of one half: a bfloat16 sum would stay at 128, where one half is below its last digit."""
    layer = SCS(1, 1, 1)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.autocast("cpu", torch.bfloat16):
        h, _ = layer(torch.ones(2000, 1, 1, 1, 1))
    h.sum().backward()  # dh/db_s = (1 - S²) ⊙ c = 1 · 0.5
    assert layer.spatial.bias.grad.item() == 1000


def test_gradient_checkpointing():
    for layer in (SCS(3, 4), ActionSCS(3, 4).eval()):
        layer = layer.double()
        x = torch.randn(4, 2, 3, 6, 6, dtype=torch.float64, requires_grad=True)
        open_paths = torch.rand(4, 2) < 0.5
        inputs = [x, *layer.parameters()]
        plain = torch.autograd.grad(layer(x, None, open_paths)[0].square().sum(), inputs)
        h, _ = checkpoint(layer, x, None, open_paths, use_reentrant=False)
        torch.testing.assert_close(torch.autograd.grad(h.square().sum(), inputs), plain)


@pytest.mark.parametrize("cell", CELLS)
def test_compiled(cell):
    """The compiler's front end, which is what can refuse a layer; and no new graph for a new draw."""
    network = build(cell, widths=[3])
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    x = torch.rand(2, 2, 1, 32, 32)
    parameters = list(network.parameters())
    for step in range(3):
        open_paths = draws(network, 4, step) if network.switch_layers else None
        plain = torch.autograd.grad(network(x, 2, open_paths=open_paths).square().sum(), parameters)
        with torch.compiler.set_stance("default" if step == 0 else "fail_on_recompile"):
            ours = torch.autograd.grad(compiled(x, 2, open_paths=open_paths).square().sum(), parameters)
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.full
def test_compiled_whole():
    network = build()
    x, open_paths = torch.rand(2, 2, 1, 32, 32), draws(network, 4)
    plain = torch.autograd.grad(network(x, 2, open_paths=open_paths).square().sum(), list(network.parameters()))
    torch._dynamo.reset()  # or it makes dynamic the sizes that other tests compiled with, which inductor fails on
    y = torch.compile(network, dynamic=False)(x, 2, open_paths=open_paths)
    ours = torch.autograd.grad(y.square().sum(), list(network.parameters()))
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_exported(cell, tmp_path):
    network = build(cell, widths=[3]).eval()
    x = torch.rand(2, 2, 1, 32, 32)
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (x, 3), dynamic_shapes={"x": {0: batch}, "steps": None})
    torch.export.save(program, tmp_path / "network.pt2")
    loaded = torch.export.load(tmp_path / "network.pt2").module()
    x = torch.rand(5, 2, 1, 32, 32)
    torch.testing.assert_close(loaded(x, 3), network(x, 3), rtol=1e-4, atol=1e-5)


def test_describe_counts():
    """One layer, 4 channels, kernel 3, one pixel a cell: the convolutions counted by hand."""
    network = EncoderForecaster("scs", [4], 3, 1, leads=3, subtasks=True)
    description = describe(network, inputs=2, steps=3, height=10, width=20)
    stem, lead, head, layer = 9 * 1 * 4, 1 * 4, 9 * 4 * 13, 9 * 4 * 4
    assert description.live_parameters == (stem + 4) + (lead + 4) + (head + 13) + 2 * (3 * layer + 2 * 4)
    assert description.other_parameters == (9 * 4 * 1 + 1) + (9 * 4 * 2 + 2)
    # Two frames in: stem, S, x, and the second one c. Three out: S, x, c and head.
    multiply_adds = 200 * (2 * stem + 2 * 2 * layer + layer + 3 * 3 * layer + 3 * head)
    assert description.multiply_adds_per_frame == pytest.approx(multiply_adds / 5, rel=1e-5)  # lead times' inputs apart
    assert "T = 2 frames" in description.wants


@pytest.mark.parametrize("cell", ["scs", "scs_action", "convlstm", "convgru"])
@pytest.mark.parametrize("kernel", [3, 5])
def test_receptive_field_is_where_the_gradient_reaches(cell, kernel):
    torch.manual_seed(0)
    network = EncoderForecaster(cell, [8, 8], kernel, 2, leads=2).double().eval()  # wide: a ReLU may be shut
    torch.nn.init.normal_(network.head.weight)
    description = describe(network, inputs=2, steps=2, height=8, width=8)
    side = 128
    x = torch.rand(1, 2, 1, side, side, dtype=torch.float64, requires_grad=True)
    changes = []
    network.head.register_forward_hook(lambda module, given, said: changes.append(said))
    network(x, 2)
    for lead, frame, pixels in (
        (1, 0, description.receptive_field_pixels),
        (0, 1, description.newest_receptive_field_pixels),
    ):
        change = changes[0][lead, :, side // 4, side // 4].sum()
        (grad,) = torch.autograd.grad(change, x, retain_graph=True)
        for axis in (0, 1):
            reached = grad[0, frame, 0].abs().amax(axis).nonzero()
            assert reached.max() - reached.min() + 1 == pixels


def test_a_stack_of_action_layers_halves_the_grid():
    stack = Stack([ActionSCS(1, 4, 7, 2), ActionSCS(4, 8, 3, 2)])
    h, states = stack(torch.rand(2, 1, 1, 16, 24))
    assert h.shape == (2, 1, 8, 4, 6)
    assert [tuple(c.shape) for c in states] == [(1, 4, 16, 24), (1, 8, 8, 12)]
