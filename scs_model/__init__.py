"""The Semi-Coupled Structure and its baselines: recurrent layers over whole sequences, and networks of them.

Torch and nothing else of this repository; no file is read here and no radar format is known.
"""

from scs_model.networks.encoder_forecaster import EncoderForecaster

__all__ = ["EncoderForecaster"]
