"""How fast faceproof is: ratios against stated baselines, each measured in one run."""
