"""The stand-alone network: frames of a sequence in, numbers after each of them out."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from scs_model.layers.action import ActionSCS
from scs_model.layers.convlstm import ConvLSTM
from scs_model.layers.convolution import Convolution
from scs_model.layers.sequence import check_open_paths, check_sequence, to_frames
from scs_model.networks.plan import plan_layers, plan_shortcut

CELLS: dict[str, Any] = {"scs": ActionSCS, "convlstm": ConvLSTM, "cnn": Convolution, "cnn_lstm": Convolution}


class States(NamedTuple):
    """Each layer's state: the main stream's, its LSTM's after them, and T²'s (None where that was not run)."""

    main: list[Any]
    motion: list[Any] | None


class ActionStreams(NamedTuple):
    """What the network says with its subtasks.

    Parameters
    ----------
    main, spatial : Tensor of shape (T, B, K)
        The numbers: the main stream's after each frame, and T¹'s of each frame alone.
    flows : list of Tensors of shape (T, B, 2, H / s, W / s), s in 4, 8, 16, 32
        T²: motion from the frame before to this one, x and y, in its root mean squares, at the network's scales.
    motion : Tensor of shape (T, B, C · columns)
        T²'s last features, averaged as the head's: for a probe.
    """

    main: Tensor
    spatial: Tensor
    flows: list[Tensor]
    motion: Tensor


class Regressor(nn.Module):
    """Layers with residual lines, and a linear head on each frame's averaged features.

    A 3×3 max-pool of stride 2 follows the first layer; around each pair of layers after it goes a residual line (around
    a last layer without a partner too), with a 1×1 convolution on it where channels or the grid change. All of it
    applies to every stream.

    Parameters
    ----------
    cell : {"scs", "convlstm", "cnn", "cnn_lstm"}
        The layers: SCS in the action form, ConvLSTM, or convolutions of single frames, without or with an LSTM of
        their averaged features.
    depth, width : int
        Layers, and channels of the first; see `scs_model.networks.plan`.
    outputs : int
        K.
    subtasks : bool
        Whether to have heads for T².
    columns : int
        Parts of a frame's width that are averaged apart: more than one where it matters on which side something is.

    Attributes
    ----------
    downsample : int
        What rows and columns of the input must be divisible by.
    switch_layers : int
        Layers whose paths can be switched: the L of ``open_paths``.

    Raises
    ------
    ValueError
        If no network can be built from these.

    References
    ----------
    Pang et al. 2020, Nature Machine Intelligence, arXiv 2006.00212, the stand-alone model.
    """

    def __init__(
        self, cell: str, depth: int, width: int, outputs: int, subtasks: bool = False, columns: int = 1
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell {cell!r} is none of {', '.join(CELLS)}")
        if outputs < 1 or columns < 1:
            raise ValueError(f"outputs and columns are 1 or more; got {outputs} and {columns}")
        if subtasks and cell != "scs":
            raise ValueError(f"only SCS layers have the subtasks' streams, and {cell} is none: set no subtasks")
        plan = plan_layers(depth, width)
        self.layers = nn.ModuleList(CELLS[cell](*layer) for layer in plan)
        self.shortcuts = nn.ModuleList(plan_shortcut(plan[first : first + 2]) for first in range(1, depth, 2))
        self.columns = columns
        features = plan[-1].channels * columns
        self.lstm = nn.LSTM(features, features) if cell == "cnn_lstm" else None
        self.classifier = nn.Linear(features, outputs)  # of any numbers; weights that are written have this name
        last_of_scale = [i for i in range(depth) if i + 1 == depth or plan[i + 1].stride == 2]
        self.flow_heads = nn.ModuleDict(
            {str(i): nn.Conv2d(plan[i].channels, 2, 3, padding=1) for i in last_of_scale} if subtasks else {}
        )
        self.downsample = 2 * 2 ** sum(layer.stride == 2 for layer in plan)
        self.switch_layers = depth if cell == "scs" else 0

    def forward(
        self,
        x: Tensor,
        states: States | None = None,
        *,
        open_paths: Tensor | None = None,
        with_subtasks: bool = False,
    ) -> tuple[Any, States]:
        """Return the numbers after each frame.

        Parameters
        ----------
        x : Tensor of shape (T, B, 3, H, W)
            Frames, normalised, oldest first; H and W divisible by `downsample`.
        states : States, or None
            What the clip before ended with; None is zero.
        open_paths : Tensor of shape (switch_layers, T, 2), bool, or None
            Paths open to the gradient (`scs_model.stsgd.switch`); None opens all.
        with_subtasks : bool
            Whether to give `ActionStreams`, or the main stream alone and at its cost.

        Returns
        -------
        Tensor of shape (T, B, K), or ActionStreams
        States

        Raises
        ------
        ValueError
            If the input is none that the network can take, in words.
        """
        check_sequence(x, 3, stride=self.downsample)
        if with_subtasks and not self.flow_heads:
            raise ValueError("the network was built without subtasks")
        if open_paths is not None:
            check_open_paths(open_paths, self.switch_layers, len(x), 2)
        before = States([None] * (len(self.layers) + 1), None) if states is None else states

        def run_layer(layer: Any, index: int, z: Tensor, state: Any) -> tuple[Tensor, Any]:
            if open_paths is None or not self.switch_layers:
                return layer(z, state)
            return layer(z, state, open_paths[index])

        outputs, after = self._run(x, before.main, run_layer)
        features, of_lstm = self._features(outputs[-1]), None
        if self.lstm is not None:
            features, of_lstm = self.lstm(features, before.main[-1])
        after.append(of_lstm)
        main = self._answer(features)
        if not with_subtasks:
            return main, States(after, None)

        none = [None] * len(self.layers)
        of_frame, _ = self._run(x, none, lambda layer, index, z, state: (layer.spatial_stream(z), None))
        motion, motion_after = self._run(
            x, before.motion or none, lambda layer, index, z, state: layer.temporal_stream(z, state)
        )
        flows = [_each(head, motion[int(index)]) for index, head in self.flow_heads.items()]
        spatial = self._answer(self._features(of_frame[-1]))
        return ActionStreams(main, spatial, flows, self._features(motion[-1])), States(after, motion_after)

    def _features(self, z: Tensor) -> Tensor:
        """Average (T, B, C, H, W) over rows, and columns in parts: (T, B, C · columns)."""
        if z.shape[-1] % self.columns:
            raise ValueError(f"the last layer has {z.shape[-1]} columns, which {self.columns} parts can't share evenly")
        return z.unflatten(-1, (self.columns, -1)).mean((-3, -1)).flatten(2)

    def _answer(self, features: Tensor) -> Tensor:
        numbers = self.classifier(features)
        # In float32 under autocast as well: small differences are what coherence and a loss see.
        return numbers.to(torch.promote_types(numbers.dtype, torch.float32))

    def _run(
        self,
        z: Tensor,
        states: Sequence[Any],
        run_layer: Callable[[Any, int, Tensor, Any], tuple[Tensor, Any]],
    ) -> tuple[list[Tensor], list[Any]]:
        """Run one stream: every layer's output, residual lines and max-pool included, and its state."""
        outputs, after = [], []
        line = z
        for index, layer in enumerate(self.layers):
            if index % 2:
                line = z
            z, state = run_layer(layer, index, z, states[index])
            after.append(state)
            if index == 0:
                z = max_pool2d(to_frames(z), 3, 2, 1).unflatten(0, z.shape[:2])
            elif index % 2 == 0 or index + 1 == len(self.layers):
                z = z + _each(self.shortcuts[(index - 1) // 2], line)
            outputs.append(z)
        return outputs, after


def _each(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a module of frames to each of a sequence (T, B, ...)."""
    return module(to_frames(x)).unflatten(0, x.shape[:2])
