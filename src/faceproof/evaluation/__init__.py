"""Everything that is computed from a predictions table: metrics, intervals, comparisons."""
