"""Train a detector: python train.py model=effnet_se data=deepfake_and_real freeze=head_only."""

from faceproof.programs import train

if __name__ == "__main__":
    train()
