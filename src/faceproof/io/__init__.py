"""Run folders, atomic writes, locks and the cache."""
