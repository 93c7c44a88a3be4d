"""The losses that forecasts are trained on: a field's is CSI made smooth, probabilities' is CRPS and a little more."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pipelines.nowcast.methods.normalisation import normalise
from pipelines.training.ddp import mean_over_ranks

RATES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # mm/h: an event is a rain rate of at least one of them
SHARPNESS = 10.0  # of the step from no event to event, for each unit of ln(1 + R)
FALSE_ALARM = 0.2  # the least that one costs, where a hit gains 1
PAST = 0.98  # weight of earlier batches in the running sums
HEAVY = 10.0  # mm/h from which a pixel's weight grows no more
AMOUNT = 0.1  # weight of the amounts' error beside the events'
LOGARITHM = 0.1  # weight of the logarithmic score beside CRPS


class SkillLoss(nn.Module):
    """1 - CSI, averaged over rain rates and lead times, plus a little of the amounts' error.

    A squared error rewards blur: where nobody knows where the rain will be, a drizzle everywhere is best. CSI = hits /
    (hits + misses + false alarms) asks where rain is more likely than not worth saying. A forecast is an event to the
    degree p = σ(SHARPNESS·(forecast - rate)). A batch is too few events for a ratio of sums, so that the gradient is

        d CSI = (d hits - λ · d false alarms) / union,

    with running sums over batches in λ = hits / union and in the union (Dinkelbach's parametric form of a ratio). λ is
    kept at `FALSE_ALARM` or more: below, rare heavy rain is best forecast far too often.

    Parameters
    ----------
    leads : int
        Lead times.

    References
    ----------
    Dinkelbach 1967, doi:10.1287/mnsc.13.7.492.
    """

    hits: Tensor
    unions: Tensor
    batches: Tensor

    def __init__(self, leads: int) -> None:
        super().__init__()
        self.register_buffer("hits", torch.zeros(leads, len(RATES)))
        self.register_buffer("unions", torch.zeros(leads, len(RATES)))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, forecast: Tensor, rain_rate: Tensor) -> Tensor:
        """Loss of one batch; in training it enters the running sums.

        Parameters
        ----------
        forecast : Tensor of shape (B, leads, 1, H, W)
            ln(1 + R).
        rain_rate : Tensor of the same shape
            Observed, mm/h; NaN doesn't count.
        """
        said = forecast.float()
        at = torch.tensor(RATES, device=said.device).view(-1, 1, 1, 1, 1, 1)
        p = torch.sigmoid(SHARPNESS * (said - normalise(at)))
        observed, valid = rain_rate >= at, rain_rate.isfinite()
        over = (1, 3, 4, 5)
        share = 1.0 / mean_over_ranks(valid.sum().float()).clamp(min=1.0)
        hits = share * (p * observed).sum(over).T
        false_alarms = share * (p * (valid & ~observed)).sum(over).T
        unions = share * observed.sum(over).T + false_alarms
        if self.training:
            self.batches += 1
            past = torch.minimum(1 - 1 / self.batches, torch.tensor(PAST, device=said.device))
            self.hits.lerp_(mean_over_ranks(hits), 1 - past)
            self.unions.lerp_(mean_over_ranks(unions), 1 - past)
        union = self.unions.clamp(min=1e-6)
        csi = self.hits / union
        gain = (hits - csi.clamp(min=FALSE_ALARM) * false_alarms) / union
        return (1.0 - csi - (gain - gain.detach())).mean() + AMOUNT * weighted_error(forecast, rain_rate)

    def sums(self, forecast: Tensor, rain_rate: Tensor) -> Tensor:
        """Return hits, and hits, misses and false alarms together, (2, leads, rates), which add up over batches.

        Parameters are those of :meth:`forward`.
        """
        at = torch.tensor(RATES, device=forecast.device).view(-1, 1, 1, 1, 1, 1)
        said, observed = (forecast.float() >= normalise(at)) & rain_rate.isfinite(), rain_rate >= at
        return torch.stack([(said & observed).sum((1, 3, 4, 5)).T, (said | observed).sum((1, 3, 4, 5)).T]).double()

    def of_sums(self, sums: Tensor) -> Tensor:
        """Return 1 - mean CSI over those rates and lead times at which something fell or was forecast."""
        hits, unions = sums
        return 1.0 - (hits / unions)[unions > 0].mean().float()


class CRPSLoss(nn.Module):
    """CRPS between the lowest and the highest of ``rates``, mm/h: Brier scores, integrated over them by trapezoids.

    A proper score: what is thought likely is best said. In training a tenth of the logarithmic score is added, of the
    same rates and widths, proper too: whether heavy rain has 1 in 1,000 or 1 in 100,000 Brier scores hardly tell, and
    their gradient fades with the square of what is said; members drawn from it would have hail in dry places. By itself
    it would let one pixel that nobody expected outweigh all others.

    Parameters
    ----------
    rates : sequence of float
        K of them, mm/h, ascending.

    References
    ----------
    Hersbach 2000, doi:10.1175/1520-0434(2000)015<0559:DOTCRP>2.0.CO;2; `pipelines.verification.probabilities.crps`.
    """

    rates: Tensor
    widths: Tensor

    def __init__(self, rates: Sequence[float]) -> None:
        super().__init__()
        at = torch.tensor(rates)
        edges = torch.cat([at[:1], (at[1:] + at[:-1]) / 2, at[-1:]])
        self.register_buffer("rates", at.view(-1, 1, 1), persistent=False)
        self.register_buffer("widths", edges.diff(), persistent=False)

    def forward(self, log_odds: Tensor, rain_rate: Tensor) -> Tensor:
        """Loss of one batch.

        Parameters
        ----------
        log_odds : Tensor of shape (B, leads, K, H, W)
            Of at least each rate.
        rain_rate : Tensor of shape (B, leads, 1, H, W)
            Observed, mm/h; NaN doesn't count.
        """
        valid, came = rain_rate.isfinite(), (rain_rate >= self.rates).float()
        errors = _squared_error(log_odds, came)
        if self.training:
            logarithms = binary_cross_entropy_with_logits(log_odds.float(), came, reduction="none")
            errors = errors + LOGARITHM * logarithms
        return (self.widths * (errors * valid).sum((0, 1, 3, 4))).sum() / valid.sum().clamp(min=1)

    def reconstruction_error(self, frame: Tensor, rain_rate: Tensor) -> Tensor:
        """Return the same score of a field, (B, 1, 1, H, W) in ln(1 + R): absolute error up to the highest rate."""
        highest = self.rates[-1, 0, 0]
        error = (torch.expm1(frame.float().minimum(normalise(highest))) - rain_rate.clamp(max=float(highest))).abs()
        return error.nan_to_num(0.0).sum() / rain_rate.isfinite().sum().clamp(min=1)

    def sums(self, log_odds: Tensor, rain_rate: Tensor) -> Tensor:
        """Return squared errors and their number, (2, leads, K), which add up over batches."""
        valid = rain_rate.isfinite()
        squares = (_squared_error(log_odds, (rain_rate >= self.rates).float()) * valid).sum((0, 3, 4))
        return torch.stack([squares, valid.sum((0, 3, 4)).expand_as(squares)]).double()

    def of_sums(self, sums: Tensor) -> Tensor:
        """Return the mean CRPS over lead times."""
        squares, counts = sums
        return (self.widths * (squares / counts.clamp(min=1))).sum(-1).mean().float()


def _squared_error(log_odds: Tensor, came: Tensor) -> Tensor:
    return (torch.sigmoid(log_odds.float()) - came).square()


def weighted_error(forecast: Tensor, rain_rate: Tensor) -> Tensor:
    """Return the mean of absolute plus squared error of ln(1 + R), valid pixels weighted by 1 + R up to `HEAVY`.

    Rain is rare and heavy rain rarer: without weights a dry forecast is a good one (Shi et al. 2017,
    arXiv 1706.03458, section 3.4 weigh likewise by rain rate).

    Parameters
    ----------
    forecast : Tensor
        ln(1 + R), any shape.
    rain_rate : Tensor
        Observed, mm/h with NaN, the same shape.
    """
    valid = rain_rate.isfinite()
    error = (forecast - normalise(rain_rate)).float()
    weight = (1.0 + rain_rate.nan_to_num(0.0).clamp(0.0, HEAVY)) * valid
    return (weight * (error.abs() + error.square())).sum() / weight.sum().clamp(min=1.0)
