"""Data sets as their authors give them out, read by the authors' own lists of splits and labels."""
