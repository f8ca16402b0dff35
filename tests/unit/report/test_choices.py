import json

from compactmtl.report.choices import choices
from compactmtl.report.collect import collect
from compactmtl.report.page import render

OPTIONS = {
    "dropped": {"outputs": ["depth"], "macs": 2_000_000, "num_params": 3_000},
    "threshold": {
        "limit": 1e-4,
        "num_zeroed": 5,
        "num_groups": 40,
        "outputs": {"seg": {"rms": 2e-3, "max": 8e-3}},
    },
    "part": {"name": "encoder"},
    "rules": ["Swirl"],
}


def test_without_options_there_is_nothing_to_say():
    assert choices({}) == []
    assert choices({"dropped": {}, "threshold": {}, "part": {}, "rules": []}) == []


def test_a_threshold_is_never_called_equal_to_the_original(complete, shown):
    path = complete[0] / "report.json"
    assert "compact equals the original, verified" in render(collect(complete[0]), shown)
    path.write_text(json.dumps(json.loads(path.read_text()) | OPTIONS))
    page = render(collect(complete[0]), shown)
    assert "compact equals the original, verified" not in page
    for words in (
        "with 5 small groups at zero",
        "Without the outputs depth: this alone saved 2.00 M MACs and 3.00 k parameters",
        "below 0.0001 were set to zero: 5 of 40",
        "8.0e-3",
        "Only the part encoder",
        "Rules from outside: Swirl",
    ):
        assert words in page
