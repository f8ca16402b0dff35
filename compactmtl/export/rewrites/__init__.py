"""Exact rewrites of what a runtime cannot take, and refusals by name of what has none."""
