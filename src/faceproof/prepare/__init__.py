"""Prepares images for a detector: finds faces and cuts them out."""
