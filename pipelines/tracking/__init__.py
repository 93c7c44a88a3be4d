"""MLflow: where runs are kept, what a training logs, and the registry. The only package that imports mlflow."""
