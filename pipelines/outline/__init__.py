"""Outlines of objects in images: training, evaluation, comparison, registration, and use."""
