"""Video clips: from files of any known layout to a store of frames with labels."""
