"""
A first nowcast of one's own radar
==================================

Ten lines from radar files to the rain of the next hour, by pysteps' way of calling a method.
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
files = sorted(folder.rglob("*.h5"))

# %%
# The ten lines: four frames are read as rain rate in mm/h, NaN where no radar sees, and forecast by a network that is
# in the package. It was trained on simulated rain, which no radar saw, of 1 km and 5 minutes: it is for a first try.
# ``extrapolation``, the folder of a network of your own, or a version in MLflow, goes in place of ``simulated``. The
# import of our module makes "scs" known to pysteps.

import matplotlib.pyplot as plt
import numpy as np
import pysteps

import pipelines.nowcast.pysteps_method  # noqa: F401

read = pysteps.io.get_method("scs", "importer")
frames = np.stack([read(str(file))[0] for file in files[8:12]])
rain = pysteps.nowcasts.get_method("scs")(frames, None, 12, model="simulated", timestep=5, kmperpixel=1.0)
pysteps.visualization.plot_precip_field(rain[5], units="mm/h", ptype="intensity")
plt.show()

# %%
# xarray reads the same files with the engine ``scs``: UTC, CF coordinates, lazily.

import xarray as xr

observed = xr.open_mfdataset(files, engine="scs")["rainfall_flux"]
print(observed.sizes, observed.attrs["units"], str(observed.time.values[-1]))

# %%
# The newest frame, what the forecast says of half an hour later, and what came.

from matplotlib.colors import LogNorm

fields = {"newest": frames[-1], "forecast, +30 min": rain[5], "observed then": observed.values[12 + 5]}
colours = plt.get_cmap("viridis").with_extremes(under="white", bad="lightgrey")
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for ax, (title, field) in zip(axes, fields.items(), strict=True):
    image = ax.imshow(np.maximum(field, 0.01), norm=LogNorm(0.1, 50), cmap=colours)
    ax.set(title=title, xticks=[], yticks=[])
figure.colorbar(image, ax=axes, label="mm/h; grey: not known")
plt.show()
