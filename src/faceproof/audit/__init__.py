"""Inspect a data set's files: statistics, duplicates, and shortcuts that give the label away."""
