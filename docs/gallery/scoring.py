"""
Scoring a model
===============

One mask for all, sums that add up, scores from the sums.
"""

# %%
# An event of four hours, and the forecasts of two methods from every tenth frame. ``scs evaluate FOLDER --model …``
# does this for any archive and any model, with intervals, and writes table and pictures.

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import xarray as xr

from pipelines.nowcast.methods.interface import FALLBACKS
from pipelines.params.radar import Simulate
from pipelines.radar.simulate import simulate
from pipelines.verification.scoring import score_forecast, scores_of

temporary = TemporaryDirectory()
folder = Path(temporary.name, "radar")
simulate(folder, Simulate(seed=7, events=1, hours=4, size=160))
rain = xr.open_mfdataset(sorted(folder.rglob("*.h5")), engine="scs")["rainfall_flux"].values

# %%
# A pixel counts where it was observed and every method says something.

LEADS, THRESHOLDS = 12, [0.5, 2.0]
minutes = [5.0 * lead for lead in range(1, LEADS + 1)]
tables = []
for now in range(4, len(rain) - LEADS, 10):
    observed = rain[now : now + LEADS]
    forecasts = {name: method(rain[now - 4 : now], LEADS) for name, method in FALLBACKS.items()}
    mask = np.isfinite(observed) & np.all([np.isfinite(forecast) for forecast in forecasts.values()], axis=0)
    for name, forecast in forecasts.items():
        sums = score_forecast(forecast, observed, mask, THRESHOLDS, pixel_m=1000, minutes=minutes)
        tables.append(sums.assign(method=name))

# %%
# Pooled: the counts of all forecasts are added up, then the score is taken. The mean of scores would be another number.

scores = scores_of(pd.concat(tables), ["method", "threshold", "minutes"])
print(scores.xs(60.0, level="minutes")[["csi", "pod", "far", "fss_8km", "mae"]].round(3))

# %%

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for ax, threshold in zip(axes, THRESHOLDS, strict=True):
    for name in FALLBACKS:
        ax.plot(minutes, scores.loc[name, threshold]["csi"], label=name)
    ax.set(title=f"at least {threshold:g} mm/h", xlabel="lead time, minutes", ylabel="CSI", ylim=(0, 1))
axes[0].legend()
plt.show()
