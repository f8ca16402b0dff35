"""Repeating the papers: their tables, our readings of them, and runs that fill the cells."""
