"""What a probabilistic network learns after its training, from windows that were left out of it."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pipelines.nowcast.methods.normalisation import normalise
from scs_model import EncoderForecaster

EDGE, BINS = 8.0, 160  # log-odds beyond ±EDGE are taken as that
SAMPLES = 4.0  # that a block of weather counts as: its pixels and hours are of one rain
FLATTEST = 0.1  # slope: what is thought likelier stays so, whatever a few hours of rain say
PRIOR = 0.5  # standard deviation of what the calibration is thought to be before anything is seen


@torch.no_grad()
def count_events(network: EncoderForecaster, windows: Iterable[Tensor], rates: Sequence[float], inputs: int) -> Tensor:
    """Return how often each forecast was made, and how often it came true.

    Parameters
    ----------
    windows : iterable of Tensor of shape (B, T, 1, H, W), mm/h

    Returns
    -------
    Tensor of shape (2, leads, K, BINS)
        By bins of log-odds, even from -`EDGE` to `EDGE`.
    """
    leads, K = network.leads, len(rates)
    at = torch.tensor(rates).view(-1, 1, 1)
    cells = torch.arange(leads * K).view(1, leads, K, 1, 1)
    counts = torch.zeros(2, leads * K * BINS, dtype=torch.float64)
    for window in windows:
        observed, future = window[:, :inputs], window[:, inputs:]
        log_odds = network(normalise(observed), leads)
        valid = future.isfinite().expand_as(log_odds)
        number = ((log_odds + EDGE) * (BINS / (2 * EDGE))).long().clamp(0, BINS - 1) + cells * BINS
        counts[0] += torch.bincount(number[valid], minlength=counts.shape[1])
        counts[1] += torch.bincount(number[valid & (future >= at)], minlength=counts.shape[1])
    return counts.view(2, leads, K, BINS)


def calibrate(network: EncoderForecaster, counts: Tensor, blocks: int) -> None:
    """Set the slope and constant of log-odds that fit what came true, and the cuts of the best CSI.

    Slope and constant maximise the likelihood with a Gaussian prior around those that change nothing: a few hours of
    rain change little (Platt 1999, with a prior). The field of the best CSI then says "at least this much" from the cut
    on (Hogan & Mason 2012, doi:10.1002/9781119960003.ch3).

    Parameters
    ----------
    counts : Tensor of shape (2, leads, K, BINS)
        Of :func:`count_events`, of the network before it is calibrated.
    blocks : int
        Independent pieces of weather that they are from, see `pipelines.verification.blocks.number_blocks`.
    """
    assert network.exceedance is not None  # it is probabilistic
    count, came = counts
    centres = (torch.arange(BINS, dtype=torch.float64) + 0.5) * (2 * EDGE / BINS) - EDGE
    share = SAMPLES * blocks / count.sum(-1).clamp(min=1)
    change = torch.zeros(*count.shape[:-1], 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([change], max_iter=200, line_search_fn="strong_wolfe")

    def calibrated() -> Tensor:
        return (1 + change[..., :1]).clamp(min=FLATTEST) * centres + change[..., 1:]

    def closure() -> Tensor:
        optimizer.zero_grad()
        z = calibrated()
        misfit = count * torch.nn.functional.softplus(z) - came * z
        loss = (share[..., None] * misfit).sum() + change.square().sum() / (2 * PRIOR**2)
        loss.backward()
        return loss

    optimizer.step(closure)
    said = torch.sigmoid(calibrated().detach())
    # From each bin on: what was forecast, and came.
    forecast, hits = (part.flip(-1).cumsum(-1).flip(-1) for part in counts)
    csi = hits / (forecast + came.sum(-1, keepdim=True) - hits).clamp(min=1)
    best = csi.max(-1)
    cuts = said.gather(-1, best.indices[..., None])[..., 0]
    exceedance = network.exceedance
    found = change.detach()
    exceedance.calibration.copy_(torch.stack([(1 + found[..., 0]).clamp(min=FLATTEST), found[..., 1]], -1))
    exceedance.cuts.copy_(cuts.where(best.values > 0, 0.5))
