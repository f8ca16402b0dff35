import threading

from compactmtl.board.bench.thermometer import Source, Thermometer, hottest_zone


def zone(folder, number, text):
    path = folder / f"thermal_zone{number}" / "temp"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_the_hottest_zone_that_can_be_right_counts(tmp_path):
    assert hottest_zone(tmp_path) is None  # nothing there: unknown, and not 0
    for number, text in enumerate(["41500\n", "-256000\n", "nonsense", "63250\n", "900000\n"]):
        zone(tmp_path, number, text)
    assert hottest_zone(tmp_path) == 63.25


def test_it_reads_while_the_block_runs_and_not_after():
    read_twice = threading.Event()
    temperatures = iter([None, 40.0, 41.0])

    def read():
        celsius = next(temperatures, 42.0)
        if celsius == 42.0:
            read_twice.set()
        return celsius

    with Thermometer(Source("a test", read), every_s=0.001) as thermometer:
        assert read_twice.wait(30)
    readings = list(thermometer.readings)
    assert [each.celsius for each in readings[:2]] == [40.0, 41.0]  # None is not kept
    assert [each.at_ns for each in readings] == sorted(each.at_ns for each in readings)
    assert not any(thread is thermometer._thread for thread in threading.enumerate())
