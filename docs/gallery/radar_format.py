"""
Adding a radar format
=====================

A format is a module that answers three questions: is this file mine, what does it say, what are its pixels.
"""

# %%
# Say a producer writes text: a line with the time and the edges, and then a row a line, in dBZ.

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

temporary = TemporaryDirectory()
path = Path(temporary.name, "composite.txt")
dbz = np.full((40, 60), -32.0)
row, column = np.mgrid[:40, :60]
dbz = np.maximum(dbz, 45 - 0.4 * ((row - 18) ** 2 + 0.5 * (column - 32) ** 2))
pixels = "\n".join(" ".join(f"{value:.1f}" for value in row) for row in dbz)
path.write_text(f"OURRADAR 202406011200 left=-30000 top=20000 pixel=1000\n{pixels}\n")

# %%
# What the file doesn't declare is not guessed: a header that can't be read is a ``ValueError``, whose words go into the
# quarantine table beside the file's name. Here the producer's documents say that -32 is "no echo".

import re
from types import SimpleNamespace

import pyproj

from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import Header, utc

CRS = pyproj.CRS("+proj=laea +lat_0=55 +lon_0=-30 +units=m")
FIRST_LINE = re.compile(rb"OURRADAR (\d{12}) left=(-?\d+) top=(-?\d+) pixel=(\d+)\n")


def recognises(file):
    return FIRST_LINE.match(file.content) is not None


def values(file, number):
    dbz = np.array([row.split() for row in file.content.decode().splitlines()[1:]], float)
    return np.where(dbz == -32, -np.inf, dbz)


def headers(file):
    time, left, top, pixel = (text.decode() for text in FIRST_LINE.match(file.content).groups())
    shape = values(file, 0).shape
    grid = Grid.from_edges(CRS, left=float(left), top=float(top), dx=float(pixel), dy=float(pixel), shape=shape)
    return [Header(utc(time), "instant", 0, "dBZ", grid)]


# %%
# In the product this is a module in ``pipelines/radar/readers/``, and its name in ``FORMATS`` of ``read.py``. From
# then on every stage and command reads it; size limits, hostile files and the quarantine are seen to outside of it.

from pipelines.radar.readers import read

read.FORMATS += (SimpleNamespace(recognises=recognises, headers=headers, values=values),)
frame = read.read_frame(path, z_r=(200.0, 1.6))
print(frame.time, frame.grid.shape, f"{frame.rain_rate.max():.1f} mm/h")

# %%

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
figure.colorbar(ax.imshow(frame.rain_rate, norm="log", vmin=0.1, vmax=50), label="mm/h")
plt.show()
