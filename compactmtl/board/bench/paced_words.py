"""A paced run in words, and whether it missed more frames than were accepted.

Both read the section ``paced`` of a record as JSON data; see ``paced_run.PacedSection``.
"""

from collections.abc import Mapping
from typing import Any

from compactmtl.board.errors import MissedError


def missed(paced: Mapping[str, Any] | None) -> MissedError | None:
    """Return the error of a run that missed more frames than accepted; None of any other.

    It is not raised: the measurement went well, and its record is the result.

    Args:
        paced: The section of a record, as JSON data; None without one.
    """
    if paced is None or paced["verdict"] != "missed":
        return None
    found = paced["found"]
    return MissedError(
        f"`{paced['candidate']}` missed {found['num_misses']} of {found['num_frames']} frames, at "
        f"most {paced['max_misses']} accepted: {found['longest_run']} one after the other, worst "
        f"response {found['worst_ms']:.3g} ms, deadline {found['deadline_ms']:g} ms"
    )


def paced_lines(paced: Mapping[str, Any] | None) -> list[str]:
    """Return what a person reads of a paced run; nothing where there was none."""
    if paced is None:
        return []
    found, other = paced["found"], paced["alongside"]
    response = found["response_ms"]
    lines = [
        f"{paced['candidate']} at {found['rate']:g} frames/s for {found['seconds']:g} s: "
        f"{found['num_misses']} of {found['num_frames']} missed {found['deadline_ms']:g} ms, "
        f"{found['num_dropped']} of them dropped; longest run {found['longest_run']}",
        f"response p50 {response['p50']:.2f} ms, p90 {response['p90']:.2f}, "
        f"p99 {response['p99']:.2f}, worst {found['worst_ms']:.2f}; {found['num_waited']} frames "
        f"waited for the one before; woken up late by p99 {found['wakeup_ms']['p99']:.2f} ms",
    ]
    if other is not None:
        rate = other["num_calls"] / other["seconds"]
        lines.append(f"alongside: {other['file']}, {rate:.1f} calls/s, {other['runtime']}")
    known = [w["temperature_c"] for w in found["windows"] if w["temperature_c"] is not None]
    lines.append(
        f"temperature: {known[0]:.1f} C at first, {known[-1]:.1f} at last, {max(known):.1f} at "
        f"most; {paced['thermometer'] or 'of unknown origin'}"
        if known
        else "temperature: unavailable"
    )
    return lines
