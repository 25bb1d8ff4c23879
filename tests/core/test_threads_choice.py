"""The number of threads by measurement: a clock that runs as a test says, so that nothing here depends on the machine."""

import pytest
import torch

from pyasp.core.errors import InputError
from pyasp.core.threads import settle_threads


class Machine:
    """Work whose time depends on the number of threads, and the clock that shows it."""

    def __init__(self, seconds):
        self.seconds, self.now = seconds, 0.0

    def work(self):
        self.now += self.seconds[torch.get_num_threads()]

    def clock(self):
        return self.now


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("PYASP_THREADS", raising=False)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "seconds, count, why",
    [
        ({1: 0.02, 2: 0.011}, 2, "faster than one"),
        ({1: 0.02, 2: 0.09}, 1, "one is faster"),  # another process has a core
        ({1: 0.02, 2: 0.021}, 2, "faster than one"),  # alike
    ],
)
def test_the_faster_number_is_taken_and_kept(tmp_path, capsys, seconds, count, why):
    machine = Machine(seconds)
    assert settle_threads(tmp_path / "threads", machine.work, machine.clock) == count == torch.get_num_threads()
    assert f"threads: {count} ({why}" in capsys.readouterr().err
    torch.set_num_threads(2)
    other = Machine({1: seconds[2], 2: seconds[1]})  # the machine has changed; a resumed run has not
    assert settle_threads(tmp_path / "threads", other.work, other.clock) == count
    assert other.now == 0.0
    assert ("threads: 1, as when it began" in capsys.readouterr().err) == (count != 2)


def test_the_users_number_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    machine = Machine({1: 0.01, 2: 9.0})
    assert settle_threads(tmp_path / "threads", machine.work, machine.clock) == 2
    assert machine.now == 0.0 and (tmp_path / "threads").read_text() == "2\n"


@pytest.mark.parametrize("first, later", [(1, 2), (2, 1)])
def test_a_resumed_training_takes_the_number_that_it_began_with(tmp_path, monkeypatch, capsys, first, later):
    """Side by side with others it may have begun with one; what it is resumed with is another choice."""
    torch.set_num_threads(first)
    assert settle_threads(tmp_path / "threads", None) == first
    torch.set_num_threads(later)
    monkeypatch.setenv("OMP_NUM_THREADS", str(later))
    assert settle_threads(tmp_path / "threads", None) == first == torch.get_num_threads()
    assert f"threads: {first}, as when it began" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "0", "two", "-1", "1\n2", "99999"])
def test_a_note_that_holds_no_number_is_told(tmp_path, text):
    (tmp_path / "threads").write_text(text)
    with pytest.raises(
        InputError, match="threads: found .*; expected the number of threads that a training began with"
    ):
        settle_threads(tmp_path / "threads", None)
    assert torch.get_num_threads() == 2
