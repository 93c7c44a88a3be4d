"""When and where it runs: Prefect flows over functions of pipelines."""
