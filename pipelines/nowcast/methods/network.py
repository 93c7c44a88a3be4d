"""A trained network as a forecaster, on any grid: in coordinates that move with the rain, or in fixed ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from pipelines.common.errors import UserError
from pipelines.nowcast.methods import fields, lagrangian
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.distribution import Distribution, Exceedance, Fields
from pipelines.nowcast.methods.memory import WHOLE
from pipelines.nowcast.methods.normalisation import normalise, thresholds
from pipelines.nowcast.methods.tiles import OnDisk, Tile, cut
from pipelines.params.base import Device
from pipelines.params.nowcast import FieldKind
from pipelines.radar.echo_image import echo_image, echo_rain_rate
from pipelines.radar.frame import Rain
from scs_model import EncoderForecaster
from scs_model.networks.describe import halo

SIDE = 768  # pixels


def build_network(description: ModelDescription) -> EncoderForecaster:
    """Return the network that a description tells of, untrained; raises ValueError if none can be built so."""
    assert description.network is not None  # it is a network's
    shape, rates = description.network.model_dump(), description.rates
    return EncoderForecaster(**shape, thresholds=thresholds(rates) if rates else None)


def torch_device(device: Device) -> str:
    """Return what torch calls a device: auto is the GPU where there is one; raises UserError for cuda without one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda, and torch finds no GPU here")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


class NetworkForecaster:
    """A trained network as a forecaster.

    On a grid of more than `WHOLE` pixels it runs tile by tile, each with what its forecast depends on around it: the
    same forecast, in the memory of a tile. Motion and amounts are of the whole grid. A TrajGRU, which sees any
    distance, runs on the whole of any grid.

    Parameters
    ----------
    network : EncoderForecaster
    inputs : int
        Frames that it was trained on; older ones are not used.

    Attributes
    ----------
    whole : int
        Pixels of the largest grid that isn't cut.
    side : int
        Rows and columns of a tile at most.
    """

    def __init__(self, network: EncoderForecaster, inputs: int) -> None:
        self.network, self.inputs, self.leads = network.eval(), inputs, network.leads
        self.network_input = echo_image if network.fixed else normalise
        self.whole, self.side, self.halo = WHOLE, SIDE, halo(network, inputs=inputs, steps=network.leads)

    def __call__(self, rain_rate: Rain, leads: int) -> Rain:
        """Forecast; NaN where the newest frame is NaN, and where the rain would come from outside of what it shows.

        After the last lead time that the network was trained for, its rain only moves on.
        """
        motion = self.motion(rain_rate)
        order = np.empty((leads, *motion.shape[:2]), np.float32)
        for tile in self._tiles(order.shape[1:]):
            for lead, still in enumerate(self._still(rain_rate, motion, tile, leads)):
                order[lead][tile] = still[0].numpy()
        self.finish(order, motion, rain_rate[-1])
        return order

    def motion(self, rain_rate: Rain) -> lagrangian.Displacement:
        """Return the motion of the frames; raises UserError if there are too few."""
        if len(rain_rate) < self.inputs:
            raise UserError(f"the model wants {self.inputs} frames, and got {len(rain_rate)}")
        return lagrangian.motion(rain_rate)

    def _tiles(self, shape: tuple[int, ...]) -> list[Tile]:
        H, W = shape
        return cut((H, W), self.side if self.halo is not None and self.whole < H * W else max(H, W))

    def _still(self, rain_rate: Rain, motion: lagrangian.Displacement, tile: Tile, leads: int) -> Iterator[Tensor]:
        """Yield what the network says of a tile (C, h, w), in its coordinates, a lead time after the other."""
        shape, divisor = motion.shape[:2], self.network.divisor
        outer = tile.around(self.halo or sum(shape), divisor, shape)
        frames = rain_rate[-self.inputs :]
        aligned = frames[:, *outer] if self.network.fixed else lagrangian.align(frames, motion, *outer)
        x = self.network_input(torch.from_numpy(aligned))[None, :, None].to(next(self.network.parameters()).device)
        h, w = outer.shape
        x = pad(x, (0, -w % divisor, 0, -h % divisor))
        with torch.inference_mode():
            each = self.network.each_lead(x, min(leads, self.leads))
        rows, columns = tile.within(outer)
        said = torch.empty(0)
        for lead in range(leads):
            if lead < self.leads:  # the last of them goes on
                with torch.inference_mode():
                    said = next(each)[0, :, rows, columns].cpu()
            yield said

    def finish(self, order: Rain | OnDisk, motion: lagrangian.Displacement, newest: Rain) -> None:
        """Match fields (leads, H, W) in moving coordinates to the newest frame's amounts, move them on, in place."""
        H, W = newest.shape
        ways = lagrangian.trajectories(motion, len(order), slice(0, H), slice(0, W), backward=True)
        for lead, way in enumerate(ways):
            if lead < self.leads:
                matched = fields.probability_matching(order[lead], newest)
            moved = lagrangian.sample(matched, way)
            np.copyto(moved, np.float32(np.nan), where=np.isnan(newest))
            order[lead] = moved


class FixedNetworkForecaster(NetworkForecaster):
    """A network in fixed coordinates as a forecaster of what it says: no amounts are matched.

    Motion says where nothing is known, as for any network, and moves what it says last on to later lead times;
    parameters are those of there.
    """

    def finish(self, order: Rain | OnDisk, motion: lagrangian.Displacement, newest: Rain) -> None:
        """Make rain rates of echo images (leads, H, W), in place."""
        grid = slice(0, newest.shape[0]), slice(0, newest.shape[1])
        after = lagrangian.trajectories(motion, len(order), *grid, backward=True)  # from the network's last lead time
        for lead, way in enumerate(lagrangian.trajectories(motion, len(order), *grid, backward=True)):
            field = echo_rain_rate(torch.from_numpy(order[lead])).numpy()
            if lead >= self.leads:
                field = lagrangian.sample(field, next(after))
            np.copyto(field, np.float32(np.nan), where=np.isnan(newest) | np.isnan(lagrangian.sample(newest, way)))
            order[lead] = field


class ProbabilisticNetworkForecaster(NetworkForecaster):
    """A trained network that gives probabilities, as a `pipelines.nowcast.methods.distribution` forecaster.

    On a grid that is cut it gives one field, and probabilities in steps of 1 / 250: both lie on disk, and are dask
    arrays.

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
        return np.asarray(next(iter(self.distribution(rain_rate, leads, self.rates).fields.values())))

    def distribution(self, rain_rate: Rain, leads: int, rates: Sequence[float]) -> Distribution:
        """Forecast at some of the network's rates; raises UserError for others."""
        if unknown := sorted(set(rates) - set(self.rates)):
            raise UserError(f"the model knows rain rates of {self.rates} mm/h, and not of {unknown}")
        if list(rates) != sorted(set(rates)):
            raise UserError(f"rain rates are asked for in ascending order, each once; got {list(rates)}")
        motion, newest = self.motion(rain_rate), rain_rate[-1]
        cuts = self.network.exceedance.cuts.cpu().numpy()  # type: ignore[union-attr]
        cuts = cuts[np.minimum(np.arange(leads), len(cuts) - 1)]
        of_moved: dict[str, Callable[[Exceedance, NDArray[np.float32]], Rain]] = {
            "mean": lambda moved, cuts: fields.mean(moved, self.rates),
            "median": lambda moved, cuts: fields.median(moved, self.rates),
            "optimal": lambda moved, cuts: fields.optimal(moved, self.rates, cuts),
        }
        tiles, of_field = self._tiles(newest.shape), (leads, *newest.shape)
        shape = leads, len(self.rates), *newest.shape
        whole = len(tiles) == 1
        exceedance: Any = np.empty(shape, np.float32) if whole else OnDisk(shape, tiles[0].shape, probabilities=True)
        # As it will be, or what gives its order.
        field: Any = np.empty(of_field, np.float32) if whole else OnDisk(of_field, tiles[0].shape)
        for tile in tiles:
            for lead, (still, moved) in enumerate(self._moved(rain_rate, motion, tile, leads)):
                exceedance[(lead, slice(None), *tile)] = moved
                if whole or self.field == "matched":
                    field[(lead, *tile)] = fields.mean(still[None], self.rates)[0]
                else:
                    field[(lead, *tile)] = of_moved[self.field](moved[None], cuts[[lead]])[0]

        def matched() -> Rain:
            made = field.copy() if whole else field
            self.finish(made, motion, newest)
            return made if whole else made.array()

        if whole:
            makers = {"matched": matched} | {kind: partial(make, exceedance, cuts) for kind, make in of_moved.items()}
            given: Mapping[str, Rain] = Fields({self.field: makers[self.field], **makers})
        else:
            exceedance = exceedance.array()
            given = {self.field: matched() if self.field == "matched" else field.array()}
        asked = [self.rates.index(rate) for rate in rates]
        return Distribution(exceedance if len(asked) == len(self.rates) else exceedance[:, asked], given)

    def _moved(
        self, rain_rate: Rain, motion: lagrangian.Displacement, tile: Tile, leads: int
    ) -> Iterator[tuple[Rain, Rain]]:
        """Yield a tile's probabilities (K, h, w) in moving coordinates and moved on, a lead time after the other."""
        newest, ways = rain_rate[-1], partial(lagrangian.trajectories, motion, leads, *tile, backward=True)
        outer = tile.with_other(Tile(*lagrangian.reached(ways(), newest.shape)))
        corner = np.array([outer.columns.start, outer.rows.start], np.float32)
        unseen, inner = np.isnan(newest[outer]), tile.within(outer)
        for log_odds, way in zip(self._still(rain_rate, motion, outer, leads), ways(), strict=True):
            still = torch.sigmoid(log_odds).numpy()
            np.copyto(still, np.float32(np.nan), where=unseen)
            moved = lagrangian.sample(still, way - corner)
            np.copyto(moved, np.float32(np.nan), where=unseen[inner])
            yield still[:, *inner], moved
