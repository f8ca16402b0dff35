"""PQ against hand-made maps, the definition written as loops, and torchmetrics."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compactmtl.errors import DataError, RecipeError, UsageError
from compactmtl.multitask import make_task, task_from_spec
from compactmtl.multitask.segments import CROWD, VOID, class_of, segment_id

THINGS, STUFF = 2, 2
# Letters of hand-made maps: things of class 0 and 1 by number, stuff of class 2 and 3.
LETTERS = {
    "a": int(segment_id(0, 1)),
    "b": int(segment_id(0, 2)),
    "c": int(segment_id(1, 1)),
    "x": int(segment_id(2, 0)),
    "y": int(segment_id(3, 0)),
    ".": VOID,
    "A": CROWD - 0,
    "C": CROWD - 1,
}


def pan(*rows):
    return torch.tensor([[LETTERS[letter] for letter in row] for row in rows])


def task():
    return make_task("p", "panoptic", {"num_things": THINGS, "num_stuff": STUFF})


def scores(*pairs):
    metric = task().metric()
    for found, true in pairs:
        metric.update(found[None, None], true[None])
    return {name: float(value) for name, value in metric.compute().items()}


def by_loops(pairs):
    """Return PQ, SQ and RQ from the definition, one pair of segments after the other."""
    sums = {c: [0.0, 0, 0, 0] for c in range(THINGS + STUFF)}
    for found, true in pairs:
        found, true = found.flatten().tolist(), true.flatten().tolist()
        pixels = list(zip(found, true, strict=True))
        guesses = {g for g in found if g >= 0}
        matched, used = set(), set()
        for t in {t for t in true if t >= 0}:
            for g in guesses:
                if t // (1 << 20) != g // (1 << 20):
                    continue
                both = sum(p == (g, t) for p in pixels)
                either = sum(q == t or (p == g and q != VOID) for p, q in pixels)
                if both / either > 0.5:
                    sums[t // (1 << 20)][0] += both / either
                    sums[t // (1 << 20)][1] += 1
                    matched.add(t)
                    used.add(g)
            if t not in matched:
                sums[t // (1 << 20)][3] += 1
        for g in guesses - used:
            kind = g // (1 << 20)
            ignored = sum(p == g and q in (VOID, CROWD - kind) for p, q in pixels)
            if ignored / found.count(g) <= 0.5:
                sums[kind][2] += 1
    rows = [(i, h, h + w / 2 + m / 2) for i, h, w, m in sums.values() if h + w + m]
    if not rows:
        return None
    return {
        "pq": sum(i / n for i, _, n in rows) / len(rows),
        "sq": sum(i / h if h else 0 for i, h, _ in rows) / len(rows),
        "rq": sum(h / n for _, h, n in rows) / len(rows),
    }


def test_hand_made_maps():
    true = pan("aaxx", "aaxx", "bbxx", "bb..")
    assert scores((true, true)) == dict.fromkeys(
        ("pq", "sq", "rq", "pq_things", "pq_stuff"), pytest.approx(1)
    )
    # a is found with 3 of its 4 pixels; b is not; c is found where x is, of which 4 of 6 are left.
    found = pan("aaxx", "axxx", "xxcc", "xxyy")
    got = scores((found, true))
    # x: 4 common pixels, 6 + 9 - 4 = 11 in either: missed and wrong. y lies in void alone: excused.
    assert got == {
        "pq": pytest.approx((0.75 / 1.5 + 0 + 0) / 3),
        "sq": pytest.approx((0.75 + 0 + 0) / 3),
        "rq": pytest.approx((1 / 1.5 + 0 + 0) / 3),
        "pq_things": pytest.approx(0.5 / 2),
        "pq_stuff": pytest.approx(0.0),
    }


def test_void_is_taken_out_of_the_union():
    # 4 common pixels, 4 more of the guess in void: IoU 1, not 1/2.
    assert scores((pan("aaaa", "aaaa"), pan("aaaa", "....")))["pq"] == pytest.approx(1)


def test_exactly_half_is_no_match():
    assert scores((pan("aaxx"), pan("axxx")))["pq_things"] == 0


def test_a_crowd_is_neither_found_nor_missed():
    true = pan("aaAA", "aaAA", "xxxx")
    found = pan("aabb", "aabb", "xxxx")
    assert scores((found, true))["pq"] == pytest.approx(1)  # b lies in a crowd of its class
    other = pan("aaCC", "aaCC", "xxxx")
    assert scores((found, other))["pq"] == pytest.approx(
        (1 / 1.5 + 1) / 2
    )  # not in that of another
    covered = pan("aa..", "aa..", "xxxx")
    assert scores((covered, true))["pq"] == pytest.approx(1)  # nobody asks for the crowd


def test_classes_that_are_nowhere_do_not_count():
    assert set(scores((pan("xx"), pan("xx")))) == {"pq", "sq", "rq", "pq_stuff"}
    metric = task().metric()
    metric.update(pan("xxyy")[None, None], pan("xxxx")[None])
    # x: half of it is found, and exactly half is no match.
    assert metric.per_class() == {"2": 0.0, "3": 0.0}


maps = st.lists(
    st.text(alphabet=sorted(LETTERS), min_size=6, max_size=6), min_size=5, max_size=5
).map(lambda rows: pan(*rows))
blocks = st.text(alphabet=sorted(LETTERS), min_size=4, max_size=4).map(
    lambda t: pan(t[:2], t[2:]).repeat_interleave(3, 0)[:5].repeat_interleave(3, 1)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(blocks | maps, blocks | maps), min_size=1, max_size=3), st.data())
def test_equals_the_definition_whatever_the_batches(pairs, data):
    pairs = [(found.where(found >= 0, VOID), true) for found, true in pairs]
    # Most pixels right, so that segments match.
    keep = torch.rand(5, 6, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 9))))
    pairs = [(found.where((keep < 0.3) | (true < 0), true), true) for found, true in pairs]
    want = by_loops(pairs)
    assume(want is not None)
    assume(not all(bool((true < 0).all()) for _, true in pairs))
    metric = task().metric()
    metric.update(
        torch.stack([found for found, _ in pairs]).unsqueeze(1),
        torch.stack([true for _, true in pairs]),
    )
    whole = {name: float(value) for name, value in metric.compute().items()}
    assert whole == pytest.approx(scores(*pairs), rel=1e-12)
    assert {name: whole[name] for name in want} == pytest.approx(want, rel=1e-12)


def test_oracle_sees_an_error_planted_in_the_union(monkeypatch):
    from compactmtl.multitask import panoptic_quality

    pairs = [(pan("aaaa", "aaaa"), pan("aaaa", "...."))]
    monkeypatch.setattr(panoptic_quality, "VOID", -7)  # void is no longer taken out
    assert scores(*pairs)["pq"] != pytest.approx(by_loops(pairs)["pq"])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_equals_torchmetrics_where_there_is_no_crowd(seed):
    from torchmetrics.functional.detection import panoptic_quality

    draw = torch.Generator().manual_seed(seed)
    ids = torch.tensor([LETTERS[letter] for letter in "abcxy"])
    coarse = torch.randint(0, 5, (2, 4, 4), generator=draw)
    true, found = (
        ids[
            coarse.where(
                torch.rand(2, 4, 4, generator=draw) < share,
                torch.randint(0, 5, (2, 4, 4), generator=draw),
            )
        ]
        .repeat_interleave(4, 1)
        .repeat_interleave(4, 2)
        for share in (1.0, 0.7)
    )

    def pairs(values):
        return torch.stack([class_of(values), values % (1 << 20)], dim=-1)

    want = panoptic_quality(
        pairs(found), pairs(true), things={0, 1}, stuffs={2, 3}, return_sq_and_rq=True
    )
    got = scores(*zip(found, true, strict=True))
    present = set(class_of(torch.cat([found, true])).unique().tolist())
    assume(present == {0, 1, 2, 3})  # torchmetrics counts an absent class as 0
    assert [got[name] for name in ("pq", "sq", "rq")] == pytest.approx(want.tolist(), abs=1e-6)


def test_constant_is_the_most_frequent_stuff():
    true = pan("aaax", "aaxy")
    (constant,) = task().constants(true[None])
    assert class_of(constant).tolist() == [2]


def test_missing_labels_add_nothing():
    missing = task().missing(2, 4)
    true = pan("aaxx", "aaxx")
    assert scores((true, true), (true, missing))["pq"] == pytest.approx(1)
    metric = task().metric()
    metric.update(true[None, None], missing[None])
    with pytest.raises(DataError, match="`p`: not one valid pixel"):
        metric.compute()


@pytest.mark.parametrize("ids", [torch.tensor([[4 << 20]]), torch.tensor([[CROWD - 4]])])
def test_a_class_that_does_not_exist_is_refused(ids):
    metric = task().metric()
    with pytest.raises(DataError, match="`p`: class 4 in a panoptic map, expected at most 3"):
        metric.update(torch.zeros(1, 1, 1, 1, dtype=torch.int64), ids[None])


def test_picture_spec_and_refusals():
    one = task()
    drawn = one.picture(pan("ab.x", "aaAy"))
    assert drawn.shape == (2, 4, 3)
    assert len({tuple(pixel) for row in drawn.tolist() for pixel in row}) == 5
    assert task_from_spec("p", one.spec()).spec() == one.spec()
    with pytest.raises(UsageError, match="`p` is only scored"):
        one.loss(None, None)
    for args in ({"num_things": 0}, {"num_stuff": 0}, {"classes": ("one",)}):
        with pytest.raises(RecipeError, match="`p`"):
            make_task("p", "panoptic", {"num_things": 1, "num_stuff": 1, **args})
