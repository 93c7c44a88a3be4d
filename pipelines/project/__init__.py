"""A project of its own for a team: its files, and those that hold where a folder has none."""
