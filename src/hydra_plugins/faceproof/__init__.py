"""The plugins of faceproof that Hydra finds: the sweepers of `python train.py -m ...`."""
