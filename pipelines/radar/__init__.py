"""Radar frames: from files of any known format to stores of rain rate on one grid."""
