"""Archives from elsewhere into a local folder: by hand, before any stage; no stage reads the network."""
