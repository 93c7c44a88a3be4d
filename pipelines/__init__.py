"""What the stages do: from radar files to scored, registered models and forecasts."""
