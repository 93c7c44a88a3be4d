"""Images with outlines of objects: from annotations of any known layout to a store of crops with polygons."""
