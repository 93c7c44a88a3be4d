"""The forecasters: extrapolation, S-PROG and STEPS, networks in moving coordinates."""
