"""The demonstration data set: drawn portraits and forgeries of them."""
