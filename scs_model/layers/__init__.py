"""Recurrent layers over whole sequences: SCS, and the cells it is compared with."""
