"""Networks of these layers: the encoder–forecaster and the stand-alone recogniser."""
