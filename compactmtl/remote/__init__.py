"""Another machine, through the user's own ssh: their configuration, keys and jump hosts."""
