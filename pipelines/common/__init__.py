"""What every room needs: errors, whole-or-absent files, provenance, workers, quarantine, checkpoints."""
