"""What the files of a cycle are called, and its folder: for whoever names them without making any."""

import re
from datetime import datetime

import numpy as np

NETCDF, ZARR, COGS, MAPS = "forecast.nc", "forecast.zarr", "cog", "maps"
PICTURE, PROBABILITIES, AMOUNTS = "forecast.png", "probabilities.png", "amounts.png"
ANIMATION = "forecast.gif"
AREAS_CSV, AREAS_JSON = "areas.csv", "areas.json"
PAGE = "index.html"  # beside the domains' folders
STAMP = re.compile(r"\d{8}T\d{6}Z")  # what `stamp` returns


def stamp(time: np.datetime64) -> str:
    """Time as folders and files are named after it: 20160928T164500Z."""
    return f"{time.astype('datetime64[s]').astype(datetime):%Y%m%dT%H%M%SZ}"
