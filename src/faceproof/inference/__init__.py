"""An exported detector at work: on images, faces, videos and whole folders."""
