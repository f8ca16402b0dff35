"""Small files of the kernel: a word or a number each, or nothing where they cannot be read."""

from pathlib import Path

MOST_DIGITS = 18


def read_word(path: Path) -> str | None:
    """Return what a file holds, without blanks around it; None where that is nothing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def read_integer(path: Path) -> int | None:
    """Return the number in a file; None where it holds none or cannot be read."""
    word = read_word(path)
    if word is None or not word.isascii() or not word.isdecimal() or len(word) > MOST_DIGITS:
        return None
    return int(word)
