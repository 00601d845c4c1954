"""What makes faceproof fast on a given machine; each part can be switched off."""
