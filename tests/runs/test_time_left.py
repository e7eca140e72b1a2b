"""What a terminal is told of long work: nothing of short work, no time before something was timed."""

import io

import pytest

from filterwise.runs import cost, time_left
from filterwise.runs.time_left import TimeLeft


class Terminal(io.StringIO):
    """A stream that is one, if it is told so."""

    def __init__(self, is_one: bool = True) -> None:
        super().__init__()
        self.is_one = is_one

    def isatty(self) -> bool:
        return self.is_one


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that tqdm reads; its last element is now."""
    times = [100.0]
    monkeypatch.setattr(time_left.tqdm, "_time", lambda self: times[-1], raising=False)
    monkeypatch.setattr("tqdm.std.time", lambda: times[-1])
    return times


def lines(clock: list[float], seconds: float, terminal: Terminal) -> list[str]:
    """What is written while four parts take so many seconds each."""
    for _ in TimeLeft(range(4), "judging", file=terminal, mininterval=0):
        clock.append(clock[-1] + seconds)
    return [line.strip() for line in terminal.getvalue().split("\r") if line.strip()]


def test_the_time_left_is_said_once_a_part_was_timed(clock):
    said = lines(clock, 10.0, Terminal())
    assert said[:3] == [
        "judging: 1 of 4, about 30 s left",
        "judging: 2 of 4, about 20 s left",
        "judging: 3 of 4, about 10 s left",
    ]


def test_before_that_only_what_is_done_is_said(clock):
    terminal = Terminal()
    with TimeLeft(None, "judging", 4, file=terminal, delay=0):
        clock.append(clock[-1] + 10)
    assert "judging: 0 of 4" in terminal.getvalue()
    assert "left" not in terminal.getvalue()


def test_short_work_and_files_are_told_nothing(clock):
    assert lines(clock, 0.1, Terminal()) == []
    assert lines(clock, 10.0, Terminal(is_one=False)) == []


def test_an_estimate_says_whether_it_was_timed():
    assert cost.hope(40, timed=True) == "about 40 s"
    assert "about" not in cost.hope(40, timed=False)
    assert "nothing like it was timed here" in cost.hope(40, timed=False)
