"""What is done beside something else is done, whatever becomes of the other."""

import pytest

from ledgermind_obs.sinks.beside import beside


def test_what_came_of_the_work_is_there_when_it_is_asked_for() -> None:
    with beside(lambda: 1) as result:
        assert result() == 1


def test_a_failure_of_the_work_is_raised_where_its_result_is_asked_for() -> None:
    with beside(lambda: 1 // 0) as result, pytest.raises(ZeroDivisionError):
        result()


def test_the_work_is_done_also_if_the_block_fails() -> None:
    done: list[int] = []

    with pytest.raises(KeyError), beside(lambda: done.append(1)):
        raise KeyError

    assert done == [1]
