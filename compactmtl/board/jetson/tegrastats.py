"""One line of ``tegrastats`` as numbers.

The tool has no documented format, and each release changed it. What we know comes from lines that
users published; what we do not know is kept by name and never guessed at::

    line   = [date time] part*
    part   = RAM 1/2MB (lfb 3x4MB)   SWAP 1/2MB (cached 3MB)   IRAM 1/2kB(lfb 3kB)
           | CPU [1%@2,off,...]      MTS fg 1% bg 2%
           | NAME off | NAME 1% | NAME 1%@2 | NAME 1%@[2,2] | NAME @2 | NAME @[2,2] | NAME 2
           | name@1.5C | name@1.5C/1.5C
           | RAIL 1mW/2mW/3mW | RAIL 1mW/2mW | RAIL 1mW | RAIL 1/2   (milliwatts, too: TX2, Nano)
"""

import re
from dataclasses import dataclass, field

OFF_C = -256.0
"""What a sensor without power reads."""

_NAME = r"[A-Za-z][A-Za-z0-9_]{0,40}"
_INT = r"\d{1,9}"
_NUMBER = r"-?\d{1,9}(?:\.\d{1,9})?"
_END = r"(?=\s|$)"
_DATE = re.compile(r"\s*(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d)(?=\s|$)")
_MEMORY = re.compile(
    rf"({_NAME}) ({_INT})/({_INT})(kB|MB|GB) ?(?:\((?:lfb {_INT}x{_INT}(?:kB|MB|GB)|"
    rf"lfb {_INT}(?:kB|MB|GB)|cached {_INT}(?:kB|MB|GB))\))?{_END}"
)
_CPUS = re.compile(rf"CPU \[([0-9a-z%@,]{{0,4000}})\]{_END}")
_CORE = re.compile(rf"({_INT})%(?:@({_INT}))?")
_PAIR = re.compile(rf"({_NAME}) fg ({_INT})% bg ({_INT})%{_END}")
_ENGINE_OFF = re.compile(rf"({_NAME}) off{_END}")
_ENGINE = re.compile(rf"({_NAME}) (?:({_INT})%)?(?:@(?:({_INT})|\[({_INT}(?:,{_INT})*)\]))?{_END}")
_PLAIN = re.compile(rf"({_NAME}) ({_INT}){_END}")
_TEMPERATURE = re.compile(rf"({_NAME})@({_NUMBER})C(?:/{_NUMBER}C)?{_END}")
_POWER = re.compile(rf"({_NAME}) ({_NUMBER})mW(?:/{_NUMBER}mW){{0,2}}{_END}")
_POWER_PLAIN = re.compile(rf"({_NAME}) ({_NUMBER})/{_NUMBER}(?:/{_NUMBER})?{_END}")
_WORD = re.compile(r"\S+")
_MIB = {"kB": 1 / 1024, "MB": 1.0, "GB": 1024.0}


@dataclass(frozen=True)
class Core:
    """Load of a processor core, and its clock where it is said."""

    percent: int
    mhz: int | None


@dataclass(frozen=True)
class Engine:
    """A unit beside the cores: the GPU, memory, codecs.

    Attributes:
        on: False where the line says ``off``.
        percent: Its load, where it is said.
        mhz: Its clocks, one per cluster of a GPU; none where none is said.
    """

    on: bool
    percent: int | None
    mhz: tuple[int, ...]


@dataclass
class Sample:
    """What one line says; what it does not say is not in here.

    Attributes:
        stamp: Date and time, as printed.
        memory_mib: ``RAM``, ``SWAP``: used and total.
        cores: One entry per core; None for a core that is off.
        engines: By name, as printed.
        temperatures_c: By sensor; sensors without power are left out.
        power_mw: By rail, the first value, which is of this moment; the others are averages since
            the tool was started.
        unknown: Words that belong to nothing known.
    """

    stamp: str | None = None
    memory_mib: dict[str, tuple[float, float]] = field(default_factory=dict)
    cores: tuple[Core | None, ...] = ()
    engines: dict[str, Engine] = field(default_factory=dict)
    temperatures_c: dict[str, float] = field(default_factory=dict)
    power_mw: dict[str, float] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def parse_line(line: str) -> Sample:
    """Read a line; any text can be read, at worst all of it as unknown words."""
    sample = Sample()
    date = _DATE.match(line)
    position = 0
    if date:
        sample.stamp, position = date[1], date.end()
    while word := _WORD.search(line, position):
        start = word.start()
        end = next((e for read in _READERS if (e := read(line, start, sample)) is not None), None)
        if end is None:
            sample.unknown.append(word[0])
            end = word.end()
        position = end
    return sample


def _memory(line: str, start: int, sample: Sample) -> int | None:
    match = _MEMORY.match(line, start)
    if not match or match[1] in sample.memory_mib:
        return None
    scale = _MIB[match[4]]
    sample.memory_mib[match[1]] = (int(match[2]) * scale, int(match[3]) * scale)
    return match.end()


def _cpus(line: str, start: int, sample: Sample) -> int | None:
    match = _CPUS.match(line, start)
    if not match or sample.cores:
        return None
    cores: list[Core | None] = []
    for text in match[1].split(","):
        core = _CORE.fullmatch(text)
        if not core and text != "off":
            return None
        cores.append(Core(int(core[1]), int(core[2]) if core[2] else None) if core else None)
    sample.cores = tuple(cores)
    return match.end()


def _pair(line: str, start: int, sample: Sample) -> int | None:
    match = _PAIR.match(line, start)
    if not match:
        return None
    for which, percent in (("fg", match[2]), ("bg", match[3])):
        sample.engines.setdefault(f"{match[1]} {which}", Engine(True, int(percent), ()))
    return match.end()


def _engine(line: str, start: int, sample: Sample) -> int | None:
    if match := _ENGINE_OFF.match(line, start):
        found = Engine(False, None, ())
    elif match := _PLAIN.match(line, start):
        found = Engine(True, None, (int(match[2]),))
    elif (match := _ENGINE.match(line, start)) and (match[2] or match[3] or match[4]):
        clocks = match[3] or match[4] or ""
        mhz = tuple(int(each) for each in clocks.split(",") if each)
        found = Engine(True, int(match[2]) if match[2] else None, mhz)
    else:
        return None
    if match[1] in sample.engines:
        return None
    sample.engines[match[1]] = found
    return match.end()


def _temperature(line: str, start: int, sample: Sample) -> int | None:
    match = _TEMPERATURE.match(line, start)
    if not match or match[1] in sample.temperatures_c:
        return None
    if float(match[2]) > OFF_C:
        sample.temperatures_c[match[1]] = float(match[2])
    return match.end()


def _power(line: str, start: int, sample: Sample) -> int | None:
    match = _POWER.match(line, start) or _POWER_PLAIN.match(line, start)
    if not match or match[1] in sample.power_mw:
        return None
    sample.power_mw[match[1]] = float(match[2])
    return match.end()


_READERS = (_memory, _cpus, _pair, _temperature, _power, _engine)
