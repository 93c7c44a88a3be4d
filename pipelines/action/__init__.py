"""Action recognition: training, evaluation, comparison and registration on video clips."""
