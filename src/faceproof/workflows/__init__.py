"""The story of each command, from settings to results on disk."""
