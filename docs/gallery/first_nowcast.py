"""
A first nowcast of one's own radar
==================================

Any radar file that is known, by xarray, and a forecast by pysteps' way of calling one.
"""

# %%
# Files of two hours, as they come from a radar: here simulated ones. Put your own folder in their place; ODIM,
# KNMI, FMI, MeteoSwiss, RADOLAN, GRIB, GeoTIFF and CF are told by their content.

from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.params.radar import Simulate
from pipelines.radar.simulate import simulate

temporary = TemporaryDirectory()
folder = Path(temporary.name, "radar")
simulate(folder, Simulate(seed=3, events=1, hours=2, size=160))

# %%
# xarray reads them with the engine ``scs``: rain rate in mm/h, NaN where no radar sees, UTC, CF coordinates.

import xarray as xr

files = sorted(folder.rglob("*.h5"))
rain = xr.open_mfdataset(files, engine="scs")["rainfall_flux"].load()
print(rain.sizes, rain.attrs["units"], str(rain.time.values[-1]))

# %%
# The import registers the method with pysteps. ``model`` is ``extrapolation`` here; the folder of a network, or a
# version in MLflow, goes in its place.

from pysteps import nowcasts

import pipelines.nowcast.pysteps_method  # noqa: F401

seen, to_come = rain[:12], rain[12:]
forecast = nowcasts.get_method("scs")(seen.values, None, 12, model="extrapolation", timestep=5, kmperpixel=1)

# %%
# The newest frame, what the forecast says of half an hour later, and what came.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

fields = {"newest": seen.values[-1], "forecast, +30 min": forecast[5], "observed then": to_come.values[5]}
colours = plt.get_cmap("viridis").with_extremes(under="white", bad="lightgrey")
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for ax, (title, field) in zip(axes, fields.items(), strict=True):
    image = ax.imshow(np.maximum(field, 0.01), norm=LogNorm(0.1, 50), cmap=colours)
    ax.set(title=title, xticks=[], yticks=[])
figure.colorbar(image, ax=axes, label="mm/h; grey: not known")
plt.show()
