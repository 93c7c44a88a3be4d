"""When and where it runs: Prefect flows over functions of pipelines."""

POOL = "forecasts"  # Prefect's work pool of the hourly forecasts
TRAINING_POOL = "training"  # of the retraining, on the machine that has the archive
GPU_POOL = "training-gpu"  # of GPU hosts
