"""What Hydra finds of ours: how `python train.py -m ...` sweeps."""
