"""Auto-driving: drives with the wheel's angle, and networks that say it from a camera. For study: it drives no car."""
