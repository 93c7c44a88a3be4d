"""A static page of the newest forecasts, for whoever looks at them: ``index.html`` beside the domains' folders."""
