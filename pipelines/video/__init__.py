"""Video clips: how folders name them, how files become frames, their store, and samples of it for training."""
