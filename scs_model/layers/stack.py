"""Recurrent layers one on another, for the main stream and for those of the subtasks."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from scs_model.layers.semi_coupled import SemiCoupled
from scs_model.layers.sequence import check_open_paths


class Stack(nn.Module):
    """Recurrent layers one on another.

    Parameters
    ----------
    layers : iterable of Module
        Each takes (x, state) and gives (h, state), x and h being (T, B, C, H, W).
    residual : bool
        Whether each layer's input is added to its output, in every stream, where their shapes are the same.

    Attributes
    ----------
    is_scs : bool
        Whether all layers are SCS layers: they can be switched and have the subtasks' streams.
    """

    def __init__(self, layers: Iterable[nn.Module], *, residual: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.residual = residual
        self.is_scs = all(isinstance(layer, SemiCoupled) for layer in self.layers)

    def forward(
        self, x: Tensor, states: Sequence[Any] | None = None, open_paths: Tensor | None = None
    ) -> tuple[Tensor, list[Any]]:
        """Run the main stream.

        Parameters
        ----------
        x : Tensor of shape (T, B, C, H, W)
        states : sequence of L states, or None
            Each layer's; None is zero.
        open_paths : Tensor of shape (L, T, 2), bool, or None
            Paths open to the gradient (`scs_model.stsgd.switch`).

        Returns
        -------
        h : Tensor of shape (T, B, C', H', W')
        states : list of L states

        Raises
        ------
        ValueError
            If a shape is wrong, or there are draws and the layers are not SCS layers.
        """
        if open_paths is None:
            return self._run(x, states, lambda layer, index, z, state: layer(z, state))
        if not self.is_scs:
            raise ValueError("only SCS layers have paths to switch: give no open_paths")
        check_open_paths(open_paths, len(self.layers), len(x), 2)
        return self._run(x, states, lambda layer, index, z, state: layer(z, state, open_paths[index]))

    def spatial_stream(self, x: Tensor) -> Tensor:
        """Run T¹'s stream: every layer's S alone. Shapes are those of the main stream."""
        return self._run(x, None, lambda layer, index, z, state: (layer.spatial_stream(z), None))[0]

    def temporal_stream(self, x: Tensor, states: Sequence[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Run T²'s stream: every layer's ReLU(u), with states of its own. Shapes are those of the main stream."""
        return self._run(x, states, lambda layer, index, z, state: layer.temporal_stream(z, state))

    def _run(
        self,
        z: Tensor,
        states: Sequence[Any] | None,
        run_layer: Callable[[Any, int, Tensor, Any], tuple[Tensor, Any]],
    ) -> tuple[Tensor, list[Any]]:
        after = []
        for index, layer in enumerate(self.layers):
            h, state = run_layer(layer, index, z, None if states is None else states[index])
            z = z + h if self.residual and z.shape == h.shape else h
            after.append(state)
        return z, after
