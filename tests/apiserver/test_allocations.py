"""Which number is given next: any that is free, the static band last."""

import random

import pytest

from netemu.apiserver import allocations


class FirstAlways(random.Random):
    """Chance that begins at the low end."""

    def randint(self, a: int, b: int) -> int:
        return a


def test_the_last_free_number_is_found_however_far_it_is_from_where_chance_began() -> None:
    pool = allocations.Pool(1, 10_000, static=0)
    for number in range(1, 10_001):
        if number != 9_999:
            pool.take(number)
    assert pool.choose(FirstAlways()) == 9_999


def test_the_static_band_is_given_last() -> None:
    pool = allocations.Pool(1, 10, static=4)
    given = []
    for _ in range(10):
        given.append(pool.choose(random.Random(1)))
        pool.take(given[-1])
    assert set(given[:6]) == set(range(5, 11))
    assert set(given[6:]) == set(range(1, 5))
    with pytest.raises(allocations.Full):
        pool.choose(random.Random(1))
