"""When and where it runs: Prefect flows over functions of pipelines."""

POOL = "forecasts"  # Prefect's work pool of the hourly forecasts
