"""What a person, or a log, is shown of work under way."""

import io
import math
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from tao import display
from tao.display import Display, duration, trace

WAIT = "waiting for transaction 0x12 (request) to be included"


def shown(console):
    return console.file.getvalue()


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


@pytest.fixture
def log():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(display, "time", clock)
    return clock


def refreshed():
    """Rows are drawn ten times a second."""
    time.sleep(0.25)


def test_a_terminal_has_a_spinner_then_a_bar_with_facts_and_the_time_left(terminal, clock):
    with Display(terminal).work("recording") as bar:
        refreshed()
        assert "recording   0 s" in shown(terminal) and "━" not in shown(terminal)
        bar.show(100, 400)
        clock.now += 10
        bar.show(150, 400, "loss 0.36, 1.2 MB stored", "█▁")
        refreshed()
    assert "━" in shown(terminal) and "150/400" in shown(terminal)
    assert "loss 0.36, 1.2 MB stored, 50 s left  █▁" in shown(terminal)


def test_work_within_work_has_a_row_of_its_own_until_it_ends(terminal):
    shows = Display(terminal)
    with shows.work("outer"):
        with shows.waiting(WAIT):
            refreshed()
        before = shown(terminal)
        refreshed()
        after = shown(terminal).removeprefix(before)
    assert "outer" in before and WAIT in before
    assert "outer" in after and WAIT not in after


def test_a_log_gets_the_same_facts_in_lines_now_and_then(log, clock):
    shows = Display(log, tell_every=30)
    for first in (0, 200):
        with shows.work("recording") as bar:
            for step in range(first, first + 101):
                bar.show(step, 400, f"loss {step}")
                clock.now += 1
    assert shown(log).splitlines() == [
        f"recording: {step} of 400, loss {step}, {duration(400 - step)} left"
        for step in (1, 31, 61, 91, 220, 250, 280)
    ]


def test_a_log_is_told_at_once_what_is_waited_for_and_nothing_of_a_spinner(log):
    shows = Display(log)
    with shows.work("looks and computes"), shows.waiting(WAIT):
        pass
    assert shown(log).splitlines() == [WAIT]


def test_an_error_in_the_work_ends_its_rows_and_passes(terminal):
    shows = Display(terminal)
    with pytest.raises(ZeroDivisionError), shows.work("outer"), shows.work("inner"):
        raise ZeroDivisionError
    with shows.work("next"):
        refreshed()
    assert "next" in shown(terminal).rpartition("outer")[2]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.02134, "0.0213 s"), (18.04, "18 s"), (200.4, "0:03:20"), (90000, "1 day, 1:00:00")],
)
def test_times_are_told_in_few_digits(seconds, said):
    assert duration(seconds) == said


def test_a_trace_goes_from_the_first_to_the_last_value_in_its_levels():
    assert trace([]) == "" and trace([2.0, 2.0]) == "▁▁"
    assert trace([7.0, 3.5, 0.0]) == "█▅▁"
    assert trace([1.0, math.nan, 0.0]) == "█▁"
    assert trace([float(i) for i in range(1000)]) == "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██"
