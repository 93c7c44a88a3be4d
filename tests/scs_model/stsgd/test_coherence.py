from itertools import pairwise

import pytest
import torch

from scs_model.layers.convlstm import ConvLSTM
from scs_model.layers.scs import SCS
from scs_model.stsgd.coherence import clip_times, run_clips


@pytest.mark.parametrize("T", [1, 3, 8, 9, 14, 15, 100])
def test_clips_cover_everything_and_overlap_by_a_quarter(T):
    clips = clip_times(T, 8)
    assert clips[0].start == 0 and clips[-1].stop == T
    for earlier, later in pairwise(clips):
        assert earlier.stop - later.start == 2 and earlier.stop - earlier.start == 8
    assert clips[-1].stop - clips[-1].start > 2 or len(clips) == 1, "the last clip has a frame of its own"


def test_without_overlap_it_is_the_whole_sequence():
    layer = ConvLSTM(2, 3).double().eval()
    x = torch.randn(10, 1, 2, 4, 4, dtype=torch.float64)
    clips = list(run_clips(layer, x, 4, overlap=0.0))
    torch.testing.assert_close(torch.cat([h for _, h, _ in clips]), layer(x)[0])
    assert all(coherence == 0 for *_, coherence in clips)


def test_state_and_loss_by_hand():
    layer = SCS(2, 3).double()
    x = torch.randn(10, 1, 2, 4, 4, dtype=torch.float64)
    first, state = layer(x[:8])
    second, _ = layer(x[6:], state.detach())
    (_, p1, none), (times, p2, coherence) = run_clips(layer, x, 8)
    assert (times.start, times.stop) == (6, 10) and none == 0
    torch.testing.assert_close(p1, first)
    torch.testing.assert_close(p2, second)
    torch.testing.assert_close(coherence, (second[:2] - first[6:].detach()).square().mean())
    wanted = torch.autograd.grad((second[:2] - first[6:].detach()).square().mean(), list(layer.parameters()))
    torch.testing.assert_close(torch.autograd.grad(coherence, list(layer.parameters())), wanted)


def test_each_clip_can_go_backward_before_the_next():
    layer = ConvLSTM(2, 3)
    for _, h, coherence in run_clips(layer, torch.randn(20, 1, 2, 4, 4), 8):
        (h.mean() + 1000 * coherence).backward()
    assert layer.hidden.weight.grad.abs().max() > 0


def test_refusals():
    with pytest.raises(ValueError, match="clips of 4 that share 4"):
        clip_times(10, 4, overlap=1.0)
    with pytest.raises(ValueError, match="0 frames"):
        clip_times(0, 4)
