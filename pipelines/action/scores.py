"""Columns of the table of an evaluation."""

WHOLE = 0  # in column observed: all frames of a clip
