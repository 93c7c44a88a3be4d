"""The Semi-Coupled Structure and its baselines: recurrent layers over whole sequences, and networks of them.

Torch and nothing else of this repository; no file is read here and no radar format is known.
"""

import torch

if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 13):
    raise ImportError(f"scs_model wants torch 2.13 or later, and this is {torch.__version__}", name="scs_model")

from scs_model.layers.scs import SCS
from scs_model.layers.stack import Stack
from scs_model.networks.encoder_forecaster import EncoderForecaster

__all__ = ["SCS", "EncoderForecaster", "Stack"]
