"""What a detector is handed on as, and everything that gives its answers."""
