"""The hourly forecast: inbox, live store, cycle, verification, archive and retention."""
