"""
A probability map
=================

How likely it is that it rains at least so much, by a method that needs no training.
"""

# %%
# Rain of two hours; the last hour is to be forecast.

from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from pipelines.params.radar import Simulate
from pipelines.radar.simulate import simulate

temporary = TemporaryDirectory()
folder = Path(temporary.name, "radar")
simulate(folder, Simulate(seed=5, events=1, hours=2, size=160))
rain = xr.open_mfdataset(sorted(folder.rglob("*.h5")), engine="scs")["rainfall_flux"].load()

# %%
# Lagrangian probability: of the rain upstream, in a neighbourhood that grows with the lead time, the share that is at
# least so strong. A network of probabilities, from ``load_forecaster(folder)``, is asked in the same way.

from pipelines.nowcast.methods.probability_baselines import lagrangian_probability

RATES = (0.1, 1.0, 5.0)  # mm/h
forecaster = lagrangian_probability(pixel_m=1000, step_s=300, rates=RATES)
exceedance = forecaster.distribution(rain.values[:12], 12, RATES).exceedance
print(exceedance.shape, "(leads, rates, rows, columns)")

# %%
# Of at least 1 mm/h after 15, 30 and 60 minutes; the line is around where so much was observed then.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for ax, lead in zip(axes, (3, 6, 12), strict=True):
    image = ax.imshow(exceedance[lead - 1, 1], vmin=0, vmax=1, cmap="Blues")
    ax.contour(rain.values[11 + lead] >= 1, [0.5], colors="tab:red", linewidths=0.6)
    ax.set(title=f"+{5 * lead} min", xticks=[], yticks=[], facecolor="lightgrey")
figure.colorbar(image, ax=axes, label="probability of 1 mm/h or more; grey: not known")
plt.show()
