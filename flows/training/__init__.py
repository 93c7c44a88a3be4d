"""Training by Prefect: DVC's stages as tasks on slots of GPUs."""
