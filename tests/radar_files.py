"""Small valid radar files of each format, written byte by byte from what the formats' specifications say.

Independent of the readers and of the simulated archive's writer. All have 1 km pixels and a known upper left corner.
"""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pyproj
import rasterio
import rasterio.shutil
import xarray as xr
from PIL import Image

LAEA = "+proj=laea +lat_0=55 +lon_0=10 +x_0=0 +y_0=0 +ellps=WGS84 +units=m"
FMI = "+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +R=6371288 +x_0=380886.31 +y_0=3395677.92"
KNMI = "+proj=stere +lat_0=90 +lon_0=0.0 +lat_ts=60.0 +a=6378.137 +b=6356.752 +x_0=0 +y_0=0"

STEP = timedelta(minutes=5)


def lonlat(projection: str, x: float, y: float) -> tuple[float, float]:
    return pyproj.Proj(projection)(x, y, inverse=True)


def write_odim(
    path: Path,
    raw: np.ndarray,
    time: datetime,
    *,
    quantity: str = "DBZH",
    gain: float | None = 0.5,
    offset: float | None = -32.0,
    nodata: float | None = 255.0,
    undetect: float | None = 0.0,
    projdef: str = LAEA,
    left: float = 0.0,
    top: float = 0.0,
    scale: float = 1000.0,
    interval: timedelta = STEP,
    calibration_in_dataset: bool = False,
) -> Path:
    """ODIM_H5 composite; ``raw`` (H, W) as stored, row 0 north; attributes that are None are left out."""
    H, W = raw.shape
    corners = {
        "LL": (left, top - H * scale),
        "UL": (left, top),
        "UR": (left + W * scale, top),
        "LR": (left + W * scale, top - H * scale),
    }
    with h5py.File(path, "w") as file:
        file.attrs["Conventions"] = np.bytes_("ODIM_H5/V2_4")
        what = file.create_group("what").attrs
        what["object"], what["version"], what["source"] = map(np.bytes_, ("COMP", "H5rad 2.4", "ORG:0"))
        what["date"], what["time"] = (np.bytes_(time.strftime(form)) for form in ("%Y%m%d", "%H%M%S"))
        where = file.create_group("where").attrs
        where["projdef"] = np.bytes_(projdef)
        where["xsize"], where["ysize"] = np.int64(W), np.int64(H)
        where["xscale"] = where["yscale"] = scale
        for name, (x, y) in corners.items():
            where[f"{name}_lon"], where[f"{name}_lat"] = lonlat(projdef, x, y)
        dataset = file.create_group("dataset1/what").attrs
        dataset["product"] = np.bytes_("CAPPI")
        for name, moment in (("start", time - interval), ("end", time)):
            dataset[f"{name}date"] = np.bytes_(moment.strftime("%Y%m%d"))
            dataset[f"{name}time"] = np.bytes_(moment.strftime("%H%M%S"))
        data = file.create_group("dataset1/data1")
        data["data"] = raw
        said = dataset if calibration_in_dataset else data.create_group("what").attrs
        said["quantity"] = np.bytes_(quantity)
        for name, value in (("gain", gain), ("offset", offset), ("nodata", nodata), ("undetect", undetect)):
            if value is not None:
                said[name] = value
        quality = data.create_group("quality1")
        quality["data"] = np.zeros_like(raw)
        quality.create_group("what").attrs["quantity"] = np.bytes_("QIND")
    return path


def write_fmi_pgm(path: Path, raw: np.ndarray, time: datetime, *, left: float = 0.0, top: float = 1226000.0) -> Path:
    """FMI's PGM; ``raw`` (H, W) uint8, row 0 north; in gzip where the name ends so."""
    H, W = raw.shape
    bottom_left, top_right = lonlat(FMI, left, top - 1000.0 * H), lonlat(FMI, left + 1000.0 * W, top)
    header = f"""P5
# composite_area FIN
# projection_name SUOMI1
# radar KOR 1 21.6460 60.1280
# obstime {time:%Y%m%d%H%M}
# producttype CAPPI
# productname LOWEST
# param CorrectedReflectivity
# metersperpixel_x 1000.000000
# metersperpixel_y 1000.000000
# projection radar {{
# type stereographic
# centrallongitude 25
# centrallatitude 90
# truelatitude 60
# bottomleft {bottom_left[0]:.6f} {bottom_left[1]:.6f}
# topright {top_right[0]:.6f} {top_right[1]:.6f}
# }}
{W} {H}
255
"""
    content = header.encode("ascii") + raw.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_knmi(
    path: Path,
    raw: np.ndarray,
    time: datetime,
    *,
    kind: str = "accumulation",
    formula: str | None = None,
    interval: timedelta = STEP,
    top: float = -3650.0,
) -> Path:
    """KNMI's HDF5; ``raw`` (H, W) as stored; ``kind`` accumulation or reflectivity; ``top`` in km."""
    H, W = raw.shape
    corners = [(0, top - H), (0, top), (W, top), (W, top - H)]
    in_metres = KNMI.replace("6378.137", "6378137").replace("6356.752", "6356752")
    accumulation = kind == "accumulation"
    with h5py.File(path, "w") as file:
        geographic = file.create_group("geographic").attrs
        geographic["geo_column_offset"] = np.array([0.0], np.float32)
        geographic["geo_row_offset"] = np.array([-top], np.float32)
        geographic["geo_dim_pixel"], geographic["geo_pixel_def"] = np.bytes_("KM,KM"), np.bytes_("LU")
        geographic["geo_number_rows"], geographic["geo_number_columns"] = np.array([H]), np.array([W])
        geographic["geo_pixel_size_x"] = np.array([1.0], np.float32)
        geographic["geo_pixel_size_y"] = np.array([-1.0], np.float32)
        geographic["geo_product_corners"] = np.array(
            [lonlat(in_metres, 1000 * x, 1000 * y) for x, y in corners], np.float32
        ).ravel()
        file.create_group("geographic/map_projection").attrs["projection_proj4_params"] = np.bytes_(KNMI)
        overview = file.create_group("overview").attrs
        start = time - interval if accumulation else time
        for name, moment in (("start", start), ("end", time)):
            overview[f"product_datetime_{name}"] = np.bytes_(moment.strftime("%d-%b-%Y;%H:%M:%S.000").upper())
        image = file.create_group("image1")
        image["image_data"] = raw.astype(np.uint16 if accumulation else np.uint8)
        image.attrs["image_geo_parameter"] = np.bytes_(
            "ACCUMULATED_PRECIPITATION_[MM]" if accumulation else "REFLECTIVITY_[DBZ]"
        )
        calibration = image.create_group("calibration").attrs
        default = "GEO=0.01*PV+0.0" if accumulation else "GEO = 0.500000 * PV + -32.000000"
        calibration["calibration_formulas"] = np.bytes_(formula or default)
        calibration["calibration_missing_data"] = np.array([65535 if accumulation else 0], np.int32)
        calibration["calibration_out_of_image"] = np.array([65535 if accumulation else 255], np.int32)
    return path


def write_mch_gif(path: Path, raw: np.ndarray, time: datetime, *, scale: str = "mmh2LASSEN8bitmm_mn") -> Path:
    """MeteoSwiss' GIF of AQC; ``raw`` (640, 710) uint8, row 0 north."""
    picture = Image.fromarray(raw.astype(np.uint8), "P")
    picture.putpalette([level for level in range(256) for _ in range(3)])
    comment = f"generated by Meteoswiss\nPRDT=AQC{time:%y%j%H%M} SCALE={scale} COLOR=reddish ACCUm=000005 DeltaT=000005"
    picture.save(path, format="GIF", comment=comment.encode("ascii"), optimize=False)
    return path


def write_bom(
    path: Path, raw: np.ndarray, time: datetime, *, interval: timedelta = 2 * STEP, units: str = "km"
) -> Path:
    """Rainfields of the Bureau of Meteorology; ``raw`` (H, W) int16 in 0.05 mm, -1 no data; row 0 north."""
    H, W = raw.shape
    step = 1000.0 if units == "m" else 1.0
    with netCDF4.Dataset(path, "w") as file:
        file.Conventions = "CF-1.7"
        for name, size, direction in (("y", H, -1), ("x", W, 1)):
            file.createDimension(name, size)
            axis = file.createVariable(name, "f8", (name,))
            axis.standard_name, axis.units = f"projection_{name}_coordinate", units
            axis[:] = direction * step * (np.arange(size) - size / 2 + 0.5)
        proj = file.createVariable("proj", "i1")
        proj.grid_mapping_name = "albers_conical_equal_area"
        proj.standard_parallel = np.array([-26.2, -29.3])
        proj.longitude_of_central_meridian, proj.latitude_of_projection_origin = 153.24, -27.7178
        proj.false_easting = proj.false_northing = 0.0
        proj.semi_major_axis, proj.semi_minor_axis = 6378137.0, 6356752.31414
        for name, moment in (("valid_time", time), ("start_time", time - interval)):
            variable = file.createVariable(name, "i8")
            variable.units = "seconds since 1970-01-01 00:00:00 UTC"
            variable[...] = int(moment.replace(tzinfo=UTC).timestamp())
        file["valid_time"].standard_name = "time"
        rain = file.createVariable("precipitation", "i2", ("y", "x"), fill_value=-1, zlib=True)
        rain.set_auto_maskandscale(False)
        rain.standard_name, rain.units, rain.grid_mapping = "precipitation_amount", "kg m-2", "proj"
        rain.scale_factor, rain.add_offset = 0.05, 0.0
        rain[:] = raw
    return path


def write_radolan(
    path: Path,
    raw: np.ndarray,
    time: datetime,
    *,
    product: str = "YW",
    precision: str = "E-02",
    minutes: int = 5,
    unit: int = 0,
    lead: int | None = None,
    version: int = 3,
) -> Path:
    """RADOLAN composite; ``raw`` (1100, 900), say, uint8 or uint16 as stored, row 0 south; in gzip by the name.

    ``unit`` 1 makes days of the ``minutes``; ``lead`` is in minutes, too.
    """
    H, W = raw.shape
    vv = "" if lead is None else f"VV{lead:4}"
    tail = (
        f"VS{version:2}SW   2.18.3PR {precision}INT{minutes:4}U{unit}GP{H:4}x{W:4}{vv}MF 00000000MS 10<boo,ros>\x03"
    ).encode("ascii")
    pixels = raw.astype(raw.dtype.newbyteorder("<")).tobytes()
    front = f"{product}{time:%d%H%M}10000{time:%m%y}BY".encode("ascii")
    content = front + f"{len(front) + 7 + len(tail) + len(pixels):7}".encode("ascii") + tail + pixels
    path.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_geotiff(
    path: Path,
    values: np.ndarray,
    time: datetime | None,
    *,
    nodata: float = -1.0,
    crs: str | None = LAEA,
    **tags: str,
) -> Path:
    """GeoTIFF in LAEA; ``values`` (H, W), row 0 north; tags as given, and the time if there is one."""
    if time is not None:
        tags |= {"time": f"{time:%Y-%m-%dT%H:%M:%SZ}"}
    H, W = values.shape
    transform = rasterio.Affine(1000.0, 0.0, 0.0, 0.0, -1000.0, 0.0)
    with rasterio.open(
        path, "w", driver="GTiff", width=W, height=H, count=1, dtype=values.dtype, crs=crs, transform=transform,
        nodata=nodata,
    ) as file:  # fmt: skip
        file.write(values, 1)
        file.update_tags(**tags)
    return path


def write_mrms(
    path: Path,
    values: np.ndarray,
    time: datetime,
    *,
    discipline: int = 209,
    pds: str = "6 1 8 0 97 0 0 0 0 102 0 0 255 1 0",
    template: int = 0,
    kind: int = 7,
) -> Path:
    """GRIB2 as of MRMS: ``values`` (H, W) in mm/h, -3 no radar; row 0 north, longitudes from 0 to 360, 0.01°.

    ``pds`` are the numbers of the product definition template; ``kind`` is the type of processed data, 7 of radar.
    """
    center, table = (161, 255) if discipline == 209 else (7, 2)
    H, W = values.shape
    transform = rasterio.Affine(0.01, 0.0, 230.0, 0.0, -0.01, 55.0)
    profile = {"width": W, "height": H, "count": 1, "dtype": "float32", "crs": "+proj=longlat +R=6371229"}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", transform=transform, **profile) as file:
            file.write(values.astype(np.float32), 1)
        rasterio.shutil.copy(
            memory.name,
            path,
            driver="GRIB",
            DISCIPLINE=str(discipline),
            IDS=f"CENTER={center} SUBCENTER=0 MASTER_TABLE={table} SIGNF_REF_TIME=3 "
            f"REF_TIME={time:%Y-%m-%dT%H:%M:%SZ} TYPE={kind}",
            PDS_PDTN=str(template),
            PDS_TEMPLATE_ASSEMBLED_VALUES=pds,
            DATA_ENCODING="IEEE_FLOATING_POINT",
        )
    return path


def write_meteonet(path: Path, data: np.ndarray, dates: list[datetime]) -> Path:
    """MeteoNet's NPZ; ``data`` (T, 515 or 565, 784) int16, row 0 north."""
    np.savez_compressed(path, data=data, dates=np.array(dates, dtype=object), miss_dates=np.array([], dtype=object))
    return path


def name_of(time: datetime, ending: str = "h5") -> str:
    """File name with the frame's time in it, as services have."""
    return f"RAD_{time:%Y%m%d%H%M}.{ending}"


def cf_dataset(times: int = 3) -> xr.Dataset:
    """Rain rate on a lat/lon grid, south first, every 5 minutes from 2021-02-28 23:55."""
    rain = np.arange(times * 12 * 16, dtype=np.float32).reshape(times, 12, 16)
    rain[:, 0, 0] = np.nan
    moments = [np.datetime64("2021-02-28T23:55", "ns") + np.timedelta64(5 * i, "m") for i in range(times)]
    return xr.Dataset(
        {"rr": (("time", "lat", "lon"), rain, {"standard_name": "rainfall_rate", "units": "mm h-1"})},
        {
            "time": ("time", moments, {"standard_name": "time"}),
            "lat": ("lat", 40 + 0.01 * np.arange(12), {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", 5 + 0.01 * np.arange(16), {"standard_name": "longitude", "units": "degrees_east"}),
        },
        {"Conventions": "CF-1.11"},
    )


def marshall_palmer(dbz: float) -> float:
    return (10 ** (dbz / 10) / 200) ** (1 / 1.6)


def edited(path: Path, group: str, **attributes) -> Path:
    with h5py.File(path, "r+") as file:
        for name, value in attributes.items():
            if value is None:
                del file[group].attrs[name]
            else:
                file[group].attrs[name] = value
    return path
