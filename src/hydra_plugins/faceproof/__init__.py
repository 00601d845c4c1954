"""The plugins of faceproof that Hydra finds: the sweepers of `faceproof train -m ...`."""
