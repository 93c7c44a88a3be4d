"""What all trainings share: the fit, processes side by side, switched gradients."""
