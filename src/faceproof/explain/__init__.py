"""Explaining: what a data set looks like, and what a detector looks at."""
