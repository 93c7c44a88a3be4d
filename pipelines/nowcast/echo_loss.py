"""The loss of networks in fixed coordinates: the weighted error of echo images."""

import torch
from torch import Tensor, nn

from pipelines.radar.echo_image import echo_image

RATES = (2.0, 5.0, 10.0, 30.0)  # mm/h, from which a pixel weighs more
WEIGHTS = (1.0, 2.0, 5.0, 10.0, 30.0)  # below the first of them, and from each on


class EchoLoss(nn.Module):
    """Mean of w·(squared + absolute error) of echo images: B-MSE plus B-MAE.

    Parameters
    ----------
    weighted : bool
        Whether w grows with the observed rain rate, as `WEIGHTS` do, or is 1.

    References
    ----------
    Shi et al. 2017, arXiv 1706.03458, for the weights, and for both errors in one loss.
    """

    rates: Tensor
    weights: Tensor

    def __init__(self, *, weighted: bool) -> None:
        super().__init__()
        self.register_buffer("rates", torch.tensor(RATES), persistent=False)
        self.register_buffer("weights", torch.tensor(WEIGHTS if weighted else (1.0,) * len(WEIGHTS)), persistent=False)

    def forward(self, image: Tensor, rain_rate: Tensor) -> Tensor:
        """Loss of one batch.

        Parameters
        ----------
        image : Tensor
            Echo images, any shape.
        rain_rate : Tensor of the same shape
            Observed, mm/h; NaN doesn't count.
        """
        total, count = self._sums(image, rain_rate)
        return total / count.clamp(min=1)

    def sums(self, image: Tensor, rain_rate: Tensor) -> Tensor:
        """Return the error and the number of pixels, (2,), which add up over batches."""
        return torch.stack(self._sums(image, rain_rate)).double()

    def of_sums(self, sums: Tensor) -> Tensor:
        """Return the loss of what was summed up."""
        total, count = sums
        return (total / count.clamp(min=1)).float()

    def _sums(self, image: Tensor, rain_rate: Tensor) -> tuple[Tensor, Tensor]:
        valid, seen = rain_rate.isfinite(), rain_rate.nan_to_num(0.0)
        weight = self.weights[torch.bucketize(seen, self.rates, right=True)] * valid
        error = image.float() - echo_image(seen)
        return (weight * (error.square() + error.abs())).sum(), valid.sum().float()
