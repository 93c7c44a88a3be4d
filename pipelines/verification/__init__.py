"""Scores of forecasts, their intervals, tables and figures; no method is known here."""
