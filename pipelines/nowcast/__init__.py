"""The nowcast: windows, training, evaluation, comparison and registration of radar forecasters."""
