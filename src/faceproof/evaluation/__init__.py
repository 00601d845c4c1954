"""Evaluation: scoring, figures from the predictions table, and reports."""
