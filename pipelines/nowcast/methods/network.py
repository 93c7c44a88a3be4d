"""A trained network as a forecaster: on any grid, in moving coordinates."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from pipelines.common.errors import UserError
from pipelines.nowcast.methods import fields, lagrangian
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.distribution import Distribution
from pipelines.nowcast.methods.normalisation import normalise
from pipelines.params.base import Device
from pipelines.params.nowcast import FieldKind
from pipelines.radar.frame import Rain
from scs_model import EncoderForecaster


def build_network(description: ModelDescription) -> EncoderForecaster:
    """Return the network that a description tells of, untrained; raises ValueError if none can be built so."""
    assert description.network is not None  # it is a network's
    shape, rates = description.network.model_dump(), description.rates
    return EncoderForecaster(**shape, thresholds=thresholds(rates) if rates else None)


def thresholds(rates: Sequence[float]) -> list[float]:
    """Return rain rates, mm/h, in the units of a network's input."""
    return normalise(torch.tensor(rates)).tolist()


def torch_device(device: Device) -> str:
    """Return what torch calls a device: auto is the GPU where there is one; raises UserError for cuda without one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda, and torch finds no GPU here")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


class NetworkForecaster:
    """A trained network as a forecaster.

    Parameters
    ----------
    network : EncoderForecaster
    inputs : int
        Frames that it was trained on; older ones are not used.
    """

    def __init__(self, network: EncoderForecaster, inputs: int) -> None:
        self.network, self.inputs, self.leads = network.eval(), inputs, network.leads

    def __call__(self, rain_rate: Rain, leads: int) -> Rain:
        """Forecast; NaN where the newest frame is NaN, and where the rain would come from outside of what it shows.

        After the last lead time that the network was trained for, its rain only moves on.
        """
        said, motion = self._run(rain_rate, leads)
        newest = rain_rate[-1]
        matched = np.stack([fields.probability_matching(field, newest) for field in said[:, 0].numpy()])
        return self._advect(matched, motion, newest, leads)

    @torch.inference_mode()
    def _run(self, rain_rate: Rain, leads: int) -> tuple[Tensor, lagrangian.Displacement]:
        """Return what the network says (leads or fewer, C, H, W), in moving coordinates, and the motion."""
        if len(rain_rate) < self.inputs:
            raise UserError(f"the model wants {self.inputs} frames, and got {len(rain_rate)}")
        _, H, W = rain_rate.shape
        newest = np.ascontiguousarray(rain_rate[-self.inputs :])
        motion = lagrangian.motion(rain_rate)
        x = normalise(torch.from_numpy(lagrangian.align(newest, motion, slice(0, H), slice(0, W))))[None, :, None]
        divisor = self.network.divisor
        x = x.to(next(self.network.parameters()).device)
        x = pad(x, (0, -W % divisor, 0, -H % divisor))
        return self.network(x, min(leads, self.leads))[0, ..., :H, :W].cpu(), motion

    @staticmethod
    def _advect(forecast: Rain, motion: lagrangian.Displacement, newest: Rain, leads: int) -> Rain:
        """Move a forecast (leads or fewer, ..., H, W) on to ``leads`` valid times, where the newest frame is seen."""
        unseen = np.isnan(newest)
        np.copyto(forecast, np.float32(np.nan), where=unseen)
        if leads > len(forecast):
            forecast = np.concatenate([forecast, np.repeat(forecast[-1:], leads - len(forecast), axis=0)])
        moved = lagrangian.advect(forecast, motion)
        np.copyto(moved, np.float32(np.nan), where=unseen)
        return moved


class ProbabilisticNetworkForecaster(NetworkForecaster):
    """A trained network that gives probabilities, as a `pipelines.nowcast.methods.distribution` forecaster.

    Parameters
    ----------
    network, inputs
        See `NetworkForecaster`.
    rates : sequence of float
        Those of the network's thresholds, mm/h.
    field : FieldKind
        What it forecasts when it is called.
    """

    def __init__(self, network: EncoderForecaster, inputs: int, rates: Sequence[float], field: FieldKind) -> None:
        super().__init__(network, inputs)
        self.rates, self.field = list(rates), field

    def __call__(self, rain_rate: Rain, leads: int) -> Rain:
        """Forecast the field of before; NaN as of any network."""
        return next(iter(self.distribution(rain_rate, leads, self.rates).fields.values()))

    def distribution(self, rain_rate: Rain, leads: int, rates: Sequence[float]) -> Distribution:
        """Forecast at some of the network's rates; raises UserError for others."""
        if unknown := sorted(set(rates) - set(self.rates)):
            raise UserError(f"the model knows rain rates of {self.rates} mm/h, and not of {unknown}")
        if list(rates) != sorted(set(rates)):
            raise UserError(f"rain rates are asked for in ascending order, each once; got {list(rates)}")
        log_odds, motion = self._run(rain_rate, leads)
        still = torch.sigmoid(log_odds).numpy()
        newest, cuts = rain_rate[-1], self.network.exceedance.cuts.cpu().numpy()  # type: ignore[union-attr]
        moved = self._advect(still, motion, newest, leads)
        cuts = cuts[np.minimum(np.arange(leads), len(cuts) - 1)]
        makers: dict[str, Callable[[], Rain]] = {
            "matched": lambda: self._advect(fields.matched(still, self.rates, newest), motion, newest, leads),
            "mean": lambda: fields.mean(moved, self.rates),
            "median": lambda: fields.median(moved, self.rates),
            "optimal": lambda: fields.optimal(moved, self.rates, cuts),
        }
        asked = [self.rates.index(rate) for rate in rates]
        exceedance = moved if len(asked) == len(self.rates) else moved[:, asked]
        return Distribution(exceedance, Fields({self.field: makers[self.field], **makers}))


class Fields(Mapping[str, Rain]):
    """Fields that are made when they are looked at: who wants one waits for one."""

    def __init__(self, makers: Mapping[str, Callable[[], Rain]]) -> None:
        self.makers = makers

    def __getitem__(self, kind: str) -> Rain:
        return self.makers[kind]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)
