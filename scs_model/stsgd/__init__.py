"""Spatial–temporal switch gradient descent: switch, adaptive switch, subtasks, coherence, chains."""
