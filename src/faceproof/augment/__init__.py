"""Random transforms for training and corruptions for evaluation, each a function of its seed."""
