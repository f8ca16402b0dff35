"""Panoptic FPN around exported parts: numpy between the runtime's calls."""
