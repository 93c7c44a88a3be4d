"""How much memory a forecast takes: docs/operations.md has the table.

A network's is measured when it is registered (`pipelines.nowcast.methods.memory_use`). Of others and of older ones the
formulas are upper bounds of what was measured: the peak of a process over what it held before, float32 on a CPU.
"""

from collections.abc import Mapping

from pipelines.nowcast.methods.description import ModelDescription

# Bytes for each channel of a cell, 4 of them a number, and each time observed or forecast.
CELL_NUMBERS = {"scs": 4.5, "scs_action": 4.5, "convlstm": 8.0, "convgru": 6.5, "trajgru": 7.5}


WHOLE = 1 << 21  # pixels of the largest grid that a network runs on in one go; a tile and its surroundings are fewer
DRAWING = 60.0  # bytes a pixel, while members are drawn
MOVING = 60.0  # bytes a pixel of a grid in tiles, while its motion is found or one of its fields is matched and moved


def needed_mb(
    description: ModelDescription, shape: tuple[int, int], leads: int, measured: Mapping[str, float] | None = None
) -> float:
    """Return the memory that a forecast needs at most, beyond the process that makes it, MB.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the grid.
    leads : int
        Lead times.
    measured : mapping of str to float, optional
        See `pipelines.nowcast.methods.memory_use`.
    """
    pixels, K = shape[0] * shape[1], len(description.rates or ())
    if description.method == "persistence":
        bytes_a_pixel = 4.0 * leads
    elif description.network is None:
        # Lucas–Kanade's vectors are spread over the grid, each pixel by its 20 nearest; with few vectors it is a third.
        bytes_a_pixel = max(1300.0, 200.0 + 14.0 * leads, 12.0 * leads * K)
    else:
        network, inputs = description.network, description.inputs
        channels = max(network.widths) / network.downsample**2  # of each pixel, in the widest layer
        times = inputs + leads
        taken = 45 + 29 * leads + 12 * inputs + 4 * CELL_NUMBERS[network.cell] * channels * times
        of_tile, measured = taken, measured or {}
        if "forecast" in measured:
            taken = measured["forecast"] * max(1.0, leads / (network.leads or leads))
            of_tile = taken - 4.0 * leads * (K + 2 if K else 1)  # without the forecast itself, and the field twice
        if pixels > WHOLE and network.cell != "trajgru":  # which has no tiles
            # Fields of probabilities lie on disk.
            return (of_tile * WHOLE + (measured.get("moving", MOVING) + (0 if K else 4 * leads)) * pixels) / 1e6
        bytes_a_pixel = taken if "forecast" in measured else max(taken, 12.0 * leads * K)
    return bytes_a_pixel * pixels / 1e6


def members_mb(shape: tuple[int, ...], *, whole: bool, measured: float | None = None) -> float:
    """Return the memory that members need at most beside the process, the forecast that is there already included, MB.

    Parameters
    ----------
    shape : tuple of int
        Lead times, rates, rows and columns of the probabilities.
    whole : bool
        Whether they are in memory.
    measured : float, optional
        Bytes a pixel that drawing them takes.
    """
    leads, K, H, W = shape
    held = 4.0 * (leads * (K + 1) if whole else 0)
    amounts = 4.0 * 3 * 2  # two periods' sums and the rain before, of a member and of the forecast
    return (held + amounts + (measured or DRAWING)) * H * W / 1e6
