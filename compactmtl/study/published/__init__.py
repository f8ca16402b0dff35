"""The papers' tables and figures as they are printed, and what trains each row: data, no code."""
