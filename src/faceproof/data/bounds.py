"""What may be asked of loading; no torch is needed to refuse more."""

MOST_WORKERS = 256  # loading processes: each holds all of torch
