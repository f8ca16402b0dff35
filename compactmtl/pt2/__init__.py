"""A ``.pt2`` file that cannot run code while it is opened: a safe door to ``torch.export.load``."""

from compactmtl.pt2.store import FORMAT_VERSION, open_pt2, read_manifest, save_pt2

__all__ = ["FORMAT_VERSION", "open_pt2", "read_manifest", "save_pt2"]
