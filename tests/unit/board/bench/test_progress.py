"""How far a measurement is: said now and then, understood by who started it over ssh."""

from compactmtl.board.bench.progress import EVERY_S, Heard, Progress


def test_lines_are_rare_and_hold_the_count():
    now, lines = [0.0], []
    progress = Progress("frames", 100, say=lines.append, clock=lambda: now[0])
    for _ in range(40):
        now[0] += EVERY_S / 8
        progress()
    assert lines == [f"frames: {number} of 100" for number in (9, 17, 25, 33)]


def test_what_is_said_is_heard_call_by_call():
    lines, rounds, frames = [], [], []
    now = [0.0]
    for what in ("rounds", "frames"):
        progress = Progress(what, say=lines.append, clock=lambda: now[0])
        for number in range(7):
            now[0] += EVERY_S * (number in (0, 2, 6))
            progress()
    heard = Heard({"rounds": lambda: rounds.append(1), "frames": lambda: frames.append(1)})
    assert [heard(line) for line in lines] == [True] * 4
    assert len(rounds) == len(frames) == 7


def test_other_lines_are_no_news():
    heard = Heard({"rounds": None})
    assert heard("rounds: 3")  # news, though nobody counts
    for line in ("error: no GPU", "frames: 3", "rounds: many", "rounds: 3 and more"):
        assert not heard(line)
