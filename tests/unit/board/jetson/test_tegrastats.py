"""Our parser against the grammar that real lines follow, against those lines, and against noise."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jetson_lines import LINES

from compactmtl.board.jetson.tegrastats import Core, Engine, Sample, parse_line

numbers = st.integers(0, 10**6)
temperatures = st.integers(-40_000, 150_000).map(lambda n: n / 1000)
RAILS = ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC", "VIN_SYS_5V0", "VDD_GPU", "POM_5V_IN"]
ENGINES = ["EMC_FREQ", "GR3D_FREQ", "GR3D2_FREQ", "NVENC0", "VIC", "APE", "OFA_FREQ"]
SENSORS = ["cpu", "gpu", "tj", "soc012", "Tboard", "PMIC"]

engines = st.one_of(
    st.just(Engine(False, None, ())),
    st.builds(lambda percent: Engine(True, percent, ()), numbers),
    st.builds(lambda mhz: Engine(True, None, mhz), st.lists(numbers, min_size=1).map(tuple)),
    st.builds(Engine, st.just(True), numbers, st.lists(numbers, min_size=1).map(tuple)),
)
samples = st.builds(
    Sample,
    stamp=st.none() | st.just("07-25-2026 09:08:28"),
    memory_mib=st.dictionaries(
        st.sampled_from(["RAM", "SWAP"]), st.tuples(numbers.map(float), numbers.map(float))
    ),
    cores=st.lists(st.none() | st.builds(Core, numbers, st.none() | numbers)).map(tuple),
    engines=st.dictionaries(st.sampled_from(ENGINES), engines),
    temperatures_c=st.dictionaries(st.sampled_from(SENSORS), temperatures),
    power_mw=st.dictionaries(st.sampled_from(RAILS), st.integers(-999, 10**5).map(float)),
)


def engine_words(name, engine, draw):
    """Return an engine as tegrastats might print it."""
    if not engine.on:
        return f"{name} off"
    load = "" if engine.percent is None else f"{engine.percent}%"
    if not engine.mhz:
        return f"{name} {load}"
    if len(engine.mhz) == 1 and not load:
        return draw(st.sampled_from([f"{name} {engine.mhz[0]}", f"{name} @{engine.mhz[0]}"]))
    if len(engine.mhz) == 1 and draw(st.booleans()):
        return f"{name} {load}@{engine.mhz[0]}"
    return f"{name} {load}@[{','.join(map(str, engine.mhz))}]"


def core_words(core):
    if core is None:
        return "off"
    return f"{core.percent}%" + ("" if core.mhz is None else f"@{core.mhz}")


@st.composite
def lines(draw):
    """A sample, and one of the ways that releases would print it."""
    sample = draw(samples)
    parts = [sample.stamp] if sample.stamp else []
    for name, (used, total) in sample.memory_mib.items():
        block = draw(st.sampled_from(["", " (lfb 1x2MB)", "(lfb 252kB)", " (cached 7MB)"]))
        parts.append(f"{name} {used:.0f}/{total:.0f}MB{block}")
    if sample.cores:
        parts.append(f"CPU [{','.join(map(core_words, sample.cores))}]")
    parts += [engine_words(name, engine, draw) for name, engine in sample.engines.items()]
    for name, celsius in sample.temperatures_c.items():
        parts.append(f"{name}@{celsius}C" + draw(st.sampled_from(["", "/12.5C"])))
    for name, power in sample.power_mw.items():
        p = f"{power:.0f}"
        tail = draw(st.sampled_from([f"{p}mW", f"{p}mW/7mW", f"{p}mW/7mW/8mW", f"{p}/7"]))
        parts.append(f"{name} {tail}")
    return sample, " ".join(parts)


MANY = Engine(True, 7, tuple(range(40)))


@given(lines())
@example((Sample(engines={"VIC": MANY}), engine_words("VIC", MANY, None)))
def test_what_a_line_says_is_what_is_read(pair):
    sample, line = pair
    assert parse_line(line) == sample


@given(lines())
def test_a_change_of_one_number_would_be_seen(pair):
    sample, line = pair
    changed = parse_line(line.replace("VDD_IN ", "VDD_IN 1", 1))
    if sample.power_mw.get("VDD_IN", -1) >= 0:
        assert changed.power_mw != sample.power_mw


@given(lines(), st.sampled_from(["NEW_THING", "what?", "[1,2", "VDD_X 12kW/3kW", "A 1%@[", "@5C"]))
def test_what_is_not_known_is_kept_by_name_and_hides_nothing(pair, words):
    sample, line = pair
    found = parse_line(f"{line} {words}")
    assert words.split()[0] in found.unknown
    known = (found.power_mw, found.temperatures_c, found.cores)
    assert known == (sample.power_mw, sample.temperatures_c, sample.cores)


@given(st.text(max_size=30) | st.text("RAMCPUVDD_IN0123456789%@[],/ mWCMBk-.off", max_size=60))
def test_any_text_can_be_read(text):
    parse_line(text)


@given(lines(), st.integers(0, 400))
def test_a_line_that_was_cut_off_can_be_read(pair, length):
    parse_line(pair[1][:length])


@pytest.mark.parametrize("name", LINES)
def test_real_lines_are_read_whole(name):
    sample = parse_line(LINES[name])
    unknown = ["NC", "0mW/0mW"] if name == "AGX_ORIN_5" else []  # the second rail of that name
    assert sample.unknown == unknown
    assert {"RAM", "SWAP"} >= sample.memory_mib.keys() - {"IRAM"}
    assert "RAM" in sample.memory_mib
    assert sample.engines["GR3D_FREQ"].mhz
    assert all(-100 < celsius < 150 for celsius in sample.temperatures_c.values())


def test_real_lines_by_hand():
    orin = parse_line(LINES["AGX_ORIN_7_2"])
    assert orin.stamp == "07-25-2026 09:08:28"
    assert orin.memory_mib == {"RAM": (20642, 62817)}
    assert (len(orin.cores), orin.cores[0]) == (12, Core(23, 2201))
    assert orin.engines["GR3D_FREQ"] == Engine(True, 12, (1300, 1300))
    assert orin.engines["NVENC0"] == Engine(False, None, ())
    assert orin.power_mw == {"VDD_GPU_SOC": 5139, "VDD_CPU_CV": 3268, "VIN_SYS_5V0": 5500}
    assert parse_line(LINES["ORIN_NX_6"]).power_mw["VDD_IN"] == 17946  # the first, not the average
    assert parse_line(LINES["TX2"]).power_mw == {"VDD_IN": 1038, "VDD_CPU": 153}
    assert parse_line(LINES["TX2"]).engines["MTS bg"].percent == 1
    assert parse_line(LINES["THOR_SHORT"]).power_mw == {"VDD_GPU": -392, "VIN": 28548}
    assert parse_line(LINES["THOR_SHORT"]).engines["GR3D_FREQ"] == Engine(True, None, (1000,) * 3)
    assert parse_line(LINES["NANO"]).memory_mib["IRAM"] == (0, 252 / 1024)


def test_sensors_without_power_are_left_out():
    assert parse_line(LINES["AGX_ORIN_5"]).temperatures_c == {
        "CPU": 44.437, "Tboard": 36.0, "tj": 44.437
    }  # fmt: skip
