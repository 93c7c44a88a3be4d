"""The sections of params.yaml: type, unit, meaning and bounds of each key."""
