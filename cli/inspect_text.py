"""How `inspect` writes values."""


def part(count: int, whole: int) -> str:
    """Return `3 of 8`."""
    return f"{count} of {whole}"


def text(value: object) -> str:
    """Return tables, shapes, flags and numbers as a person writes them."""
    if isinstance(value, dict):
        return "  ".join(f"{key} {text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        separator = " x " if any(isinstance(item, int) for item in value) else ", "
        return separator.join(text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else f"{value}"
