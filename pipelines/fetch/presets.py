"""Open archives by name: pattern, pace, licence, as read on the pages under ``source``.

Where a page doesn't say how files are named, it is as public code that reads the same archive has it.
"""

from pipelines.params.fetch import Fetch

NOT_TRIED = "a preset, not tried against the provider (2026-11-30): look at its licence and pattern first"
_DWD = "https://opendata.dwd.de/climate_environment/CDC/grids_germany/"

PRESETS = {
    # Germany's composite, 1 km, adjusted to gauges: amounts of 5 minutes, a tar a month that holds one a day.
    "dwd-radklim-yw": Fetch(
        url=f"tar://*.tar.gz::{_DWD}5_minutes/radolan/reproc/2017_002/bin/%Y/YW2017.002_%Y%m.tar",
        step_s=86_400,
        rate=1.0,
        parallel=1,
        max_file_mb=4096,
        license="CC-BY-4.0",
        attribution="Source: Deutscher Wetterdienst",
        source="https://opendata.dwd.de/climate_environment/CDC/Terms_of_use.pdf",
    ),
    # The same of an hour, as it was at the time: a tar a month.
    "dwd-radolan-rw": Fetch(
        url=f"tar://raa01-rw_10000-%y%m%d%H%M-dwd---bin*::{_DWD}hourly/radolan/historical/bin/%Y/RW%Y%m.tar.gz",
        step_s=3_600,
        offset_s=3_000,
        rate=1.0,
        parallel=1,
        license="CC-BY-4.0",
        attribution="Source: Deutscher Wetterdienst",
        source="https://opendata.dwd.de/climate_environment/CDC/Terms_of_use.pdf",
    ),
    # The Netherlands' composite, 1 km, adjusted to gauges in real time. The registered key: 1000 requests an hour.
    "knmi-rtcor": Fetch(
        url="https://api.dataplatform.knmi.nl/open-data/v1/datasets/nl_rdr_data_rtcor_5m/versions/1.0/files/"
        "RAD_NL25_RAC_RT_%Y%m%d%H%M.h5/url",
        step_s=300,
        name="RAD_NL25_RAC_RT_%Y%m%d%H%M.h5",
        answer="temporaryDownloadUrl",
        rate=0.25,
        parallel=1,
        license="CC-BY-4.0",
        attribution="Source: KNMI",
        source="https://dataplatform.knmi.nl/dataset/nl-rdr-data-rtcor-5m-1-0",
    ),
    # Finland's composite, 250 m, reflectivity as GeoTIFF.
    "fmi-dbz": Fetch(
        url="https://fmi-opendata-radar-geotiff.s3.eu-west-1.amazonaws.com/%Y/%m/%d/FIN-DBZ-3067-250M/"
        "%Y%m%d%H%M_FIN-DBZ-3067-250M.tif",
        step_s=300,
        license="CC-BY-4.0",
        attribution="Source: Finnish Meteorological Institute",
        source="https://en.ilmatieteenlaitos.fi/radar-data-on-aws-s3",
    ),
    # The contiguous United States, 0.01°, rain rate every 2 minutes; their seconds differ.
    "noaa-mrms-preciprate": Fetch(
        url="s3://noaa-mrms-pds/CONUS/PrecipRate_00.00/%Y%m%d/MRMS_PrecipRate_00.00_%Y%m%d-%H%M*.grib2.gz",
        step_s=120,
        anonymous=True,
        # "There are no restrictions on the use of this data": SPDX' nearest, as it is made by the government.
        license="LicenseRef-scancode-us-govt-public-domain",
        attribution="Source: NOAA",
        source="https://registry.opendata.aws/noaa-mrms-pds/",
    ),
}
