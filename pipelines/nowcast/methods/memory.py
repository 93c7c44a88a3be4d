"""How much memory a forecast takes, as measured: docs/operations.md has the table.

The peak of a process over what it held before, on grids of 512² to 1400² pixels, float32 on a CPU; the formulas are
upper bounds of what was measured, within 25 %.
"""

from pipelines.nowcast.methods.description import ModelDescription

# Bytes for each channel of a cell, 4 of them a number, and each time observed or forecast.
CELL_NUMBERS = {"scs": 4.5, "scs_action": 4.5, "convlstm": 8.0, "convgru": 6.5, "trajgru": 7.5}


def needed_mb(description: ModelDescription, shape: tuple[int, int], leads: int) -> float:
    """Return the memory that a forecast needs at most, beyond the process that makes it, MB.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the grid.
    leads : int
        Lead times.
    """
    if description.method == "persistence":
        bytes_a_pixel = 4.0 * leads
    elif description.network is None:
        # Lucas–Kanade's vectors are spread over the grid, each pixel by its 20 nearest; with few vectors it is a third.
        bytes_a_pixel = max(1300.0, 200.0 + 14.0 * leads)
    else:
        network, inputs = description.network, description.inputs
        channels = max(network.widths) / network.downsample**2  # of each pixel, in the widest layer
        times = inputs + leads
        bytes_a_pixel = 45 + 29 * leads + 12 * inputs + 4 * CELL_NUMBERS[network.cell] * channels * times
    # Probabilities, while they are moved and packed: the network's own numbers are gone by then.
    bytes_a_pixel = max(bytes_a_pixel, 16.0 * leads * len(description.rates or ()))
    return bytes_a_pixel * shape[0] * shape[1] / 1e6
