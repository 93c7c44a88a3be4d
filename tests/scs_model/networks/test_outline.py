"""The outline network and its search: whole sequences against single steps, known ResNets, a search done by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from scs_model.networks.outline import CELLS, GRID, NONE, Encoded, OutlineNetwork, OutlineStreams
from scs_model.networks.outline_search import CLOSED, find_outlines
from scs_model.networks.residual_encoder import ResidualEncoder


def small(cell: str = "scs", *, subtasks: bool = False) -> OutlineNetwork:
    torch.manual_seed(0)
    return OutlineNetwork(cell, 3, 4, 5, 2, subtasks=subtasks).eval()


def test_encoder_is_torchvisions_resnet() -> None:
    """Names and sizes as torchvision's, whose classifiers of 1000 classes are left out."""
    known = {  # parameters of the whole network; inputs of the classifier
        (64, (2, 2, 2, 2), False): (11_689_512, 512),
        (64, (3, 4, 6, 3), False): (21_797_672, 512),
        (64, (3, 4, 6, 3), True): (25_557_032, 2048),
    }
    for arguments, (parameters, inputs) in known.items():
        encoder = ResidualEncoder(*arguments)
        assert sum(p.numel() for p in encoder.parameters()) == parameters - (inputs * 1000 + 1000)
    shapes = {name: tuple(w.shape) for name, w in encoder.state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer2.0.downsample.1.running_var"] == (512,)
    assert shapes["layer3.5.conv3.weight"] == (1024, 256, 1, 1)
    narrow = ResidualEncoder(2, (1, 1, 1, 1), True)
    assert [tuple(z.shape) for z in narrow(torch.zeros(2, 3, 64, 96))] == [
        (2, 8 * 2**scale, 16 // 2**scale, 24 // 2**scale) for scale in range(4)
    ]


@pytest.mark.parametrize("cell", ["scs", "convlstm", "convgru"])
@torch.inference_mode()
def test_vertex_by_vertex_is_the_whole_sequence(cell: str) -> None:
    network = small(cell)
    features = network.encode(torch.randn(2, 3, 224, 224)).features
    last = torch.randint(CELLS, (4, 2))
    before = torch.cat([torch.full((1, 2), NONE), last[:-1]])
    whole, _ = network.decode(features, last[0], last, before)
    torch.testing.assert_close(whole.exp().sum(-1), torch.ones(4, 2))
    states = None
    for t in range(4):
        step, states = network.decode(features, last[0], last[t : t + 1], before[t : t + 1], states)
        torch.testing.assert_close(step[0], whole[t], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_without_residual_lines_layers_follow_one_another() -> None:
    network = OutlineNetwork("scs", 3, 4, 5, 2, residual=False)
    with_lines = OutlineNetwork("scs", 3, 4, 5, 2)
    with_lines.load_state_dict(network.state_dict())
    x = torch.randn(4, 2, 5 + 3 + 3, GRID, GRID)
    z = x
    for layer in network.decoder.layers:
        z = layer(z)[0]
    torch.testing.assert_close(network.decoder(x)[0], z)
    assert not torch.allclose(with_lines.decoder(x)[0], z)


def test_decoder_sees_how_near_a_vertex_is() -> None:
    near = small().nearness[torch.tensor([3 * GRID + 4, NONE])]
    assert near[0, 6, 8] == pytest.approx(1 / (1 + 5))  # 3 rows, 4 columns
    assert near[0, 3, 4] == 1
    assert not near[1].any()


def test_subtasks_and_their_gradients() -> None:
    network = small(subtasks=True)
    encoded = network.encode(torch.randn(2, 3, 224, 224))
    features = encoded.features.detach().requires_grad_()
    last = torch.randint(CELLS, (3, 2))
    streams, _ = network.decode(features, last[0], last, last, with_subtasks=True)
    assert isinstance(streams, OutlineStreams)
    assert streams.spatial.shape == (3, 2, 2, CELLS)
    assert streams.motion.shape == (3, 2, 2)
    streams.spatial.sum().backward()
    layer = network.decoder.layers[1]
    assert layer.spatial.weight.grad.abs().sum() > 0
    assert layer.temporal.weight.grad is None  # T¹ is of the spatial path alone
    closed = torch.zeros(3, 3, 2, dtype=torch.bool)  # no path is open: nothing comes back to the features
    features.grad = None
    network.decode(features, last[0], last, last, open_paths=closed)[0].square().sum().backward()
    assert features.grad is None or not features.grad.any()


def test_refusals() -> None:
    for arguments, words in (
        (("lstm", 2, 4, 4, 4), "none of scs, convlstm, convgru"),
        (("scs", 0, 4, 4, 4), "1 or more"),
        (("convlstm", 2, 4, 4, 4, (1, 1, 1, 1), False, True), "set no subtasks"),
        (("scs", 2, 4, 4, 4, (1, 1)), "4 numbers of blocks"),
    ):
        with pytest.raises(ValueError, match=words):
            OutlineNetwork(*arguments)
    with pytest.raises(ValueError, match="224"):
        small().encode(torch.zeros(1, 3, 28, 28))
    with pytest.raises(ValueError, match="without subtasks"):
        last = torch.zeros(1, 1, dtype=torch.long)
        small().decode(torch.zeros(1, 8, GRID, GRID), last[0], last, last, with_subtasks=True)


class Written(torch.nn.Module):
    """A decoder whose next vertex depends on the last one as a table says: {last: {next: probability}}."""

    def __init__(self, table: dict[int, dict[int, float]]) -> None:
        super().__init__()
        self.table = table

    def decode(self, features: Tensor, first: Tensor, last: Tensor, before: Tensor, states: Any) -> tuple[Tensor, Any]:
        said = torch.full((1, last.shape[1], CELLS + 1), -math.inf)
        for row, cell in enumerate(last[0].tolist()):
            for token, p in self.table.get(cell, {}).items():
                said[0, row, token] = math.log(p)
        return said, states


def written_encoded() -> Encoded:
    first = torch.full((1, CELLS), -math.inf)
    first[0, 40] = 0.0
    empty = torch.zeros(1, GRID, GRID)
    return Encoded(torch.zeros(1, 4, GRID, GRID), empty, empty, empty, first)


def test_beam_search_finds_what_the_greedy_one_misses() -> None:
    """50 has the higher probability, but what follows it is uncertain; 60 leads to a certain triangle."""
    unsure = {51 + 2 * i: 0.1 for i in range(10)}
    table = {40: {50: 0.6, 60: 0.4}, 50: unsure, 60: {70: 1.0}, 70: {CLOSED: 1.0}}
    table |= {cell: {CLOSED: 1.0} for cell in unsure}
    network: Any = Written(table)
    greedy = find_outlines(network, written_encoded(), max_vertices=9)
    assert greedy.cells[:, 0].tolist()[:2] == [40, 50]
    best = find_outlines(network, written_encoded(), max_vertices=9, beam=3)
    assert best.cells[:, 0].tolist() == [40, 60, 70]
    assert best.closed.tolist() == [True]


def test_search_closes_no_line_and_ends() -> None:
    network: Any = Written({40: {CLOSED: 0.9, 41: 0.1}, 41: {41: 0.9, 42: 0.1}, 42: {43: 1.0}, 43: {42: 1.0}})
    found = find_outlines(network, written_encoded(), max_vertices=5)
    assert found.cells[:, 0].tolist() == [40, 41, 42, 43, 42]
    assert found.closed.tolist() == [False]


@pytest.mark.parametrize("beam", [1, 2])
def test_what_is_left_may_be_nearly_impossible(beam: int) -> None:
    """The network would have vertex 50 again, or close at once; what is left has 1e-80, no number in float32."""
    network: Any = Written({40: {50: 1.0}, 50: {50: 0.5, CLOSED: 0.5, 300: 1e-80}, 300: {CLOSED: 1.0}})
    found = find_outlines(network, written_encoded(), max_vertices=5, beam=beam)
    assert [cell for cell in found.cells[:, 0].tolist() if cell != NONE] == [40, 50, 300]
    assert found.closed.tolist() == [True]


def test_who_oversees_has_the_last_word() -> None:
    network: Any = Written({40: {50: 1.0}, 44: {60: 1.0}, 60: {CLOSED: 1.0}})

    def oversee(t: int, log_p: Tensor) -> Tensor:
        return torch.full_like(log_p, -math.inf).index_fill_(1, torch.tensor([44]), 0.0) if t == 1 else log_p

    found = find_outlines(network, written_encoded(), max_vertices=9, oversee=oversee)
    assert found.cells[:, 0].tolist() == [40, 44, 60]
    assert found.positions[1, 0].tolist() == [44 % GRID + 0.5, 44 // GRID + 0.5]


def test_position_is_the_mean_around_a_cell() -> None:
    """Cell (row 0, column 27), a corner: what lies beyond the grid, or is no neighbour, doesn't count."""
    network: Any = Written({40: {27: 0.4, 26: 0.1, 27 + GRID: 0.3, 28: 0.2}})
    found = find_outlines(network, written_encoded(), max_vertices=2)
    assert found.cells[1, 0] == 27
    assert found.positions[1, 0].tolist() == pytest.approx(
        [(0.7 * 27.5 + 0.1 * 26.5) / 0.8, (0.5 * 0.5 + 0.3 * 1.5) / 0.8]
    )


def test_one_polygon_is_closed_at_a_third() -> None:
    """After the triangle the end has 0.3, more than any of the places where a vertex may be; after the next 0.35."""
    anywhere = {300 + 2 * i: 0.07 for i in range(10)}
    table = {40: {100: 1.0}, 100: {200: 1.0}, 200: {CLOSED: 0.3, **anywhere}}
    network: Any = Written(table | {cell: {CLOSED: 0.35, 600: 0.65} for cell in anywhere})
    cells = find_outlines(network, written_encoded(), max_vertices=9).cells[:, 0].tolist()
    assert cells[:3] == [40, 100, 200]
    assert len(cells) == 4
    assert cells[3] in range(300, 320)
