"""The `faceproof` command: one module for each subcommand."""
