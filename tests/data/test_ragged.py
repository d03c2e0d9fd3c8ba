import numpy as np
import pytest

from skmind.data.ragged import Ragged, count, group_rows, isin_pairs, pair_keys, span_places


def ragged(*rows):
    """Lists of codes, one per row, as a `Ragged`."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    return Ragged(np.array([code for row in rows for code in row], dtype=np.int64), offsets)


def as_lists(table):
    """The codes of each row."""
    return [part.tolist() for part in np.split(table.values, table.offsets[1:-1])]


ROWS = [[4, 2], [], [7], [0, 1, 2], []]


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (0, 1), (1, 2), (1, 4), (3, 5), (2, 2)])
def test_rows_are_a_slice(start, stop):
    part = ragged(*ROWS).slice_rows(start, stop)
    assert as_lists(part)[: stop - start] == ROWS[start:stop]
    assert part.offsets[0] == 0
    assert len(part.offsets) == stop - start + 1


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [3, 0], [1, 4], [2, 2, 0], []])
def test_take_gathers_rows(rows):
    part = ragged(*ROWS).take(np.array(rows, dtype=np.int64))
    assert as_lists(part)[: len(rows)] == [ROWS[row] for row in rows]
    assert len(part.offsets) == len(rows) + 1


def test_taken_rows_can_be_taken_again():
    part = ragged(*ROWS).slice_rows(2, 5).take(np.array([1, 0])).slice_rows(1, 2)
    assert as_lists(part) == [[7]]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_where_keeps_the_values_of_a_mask(share):
    rng = np.random.default_rng(0)
    rows = [rng.integers(30, size=rng.integers(12)).tolist() for _ in range(20)]
    chosen = rng.random(30) < share
    table = ragged(*rows)
    expected = [[code for code in row if chosen[code]] for row in rows]
    assert as_lists(table.where(chosen[table.values])) == expected


def test_pairs_name_the_row_of_every_code():
    rows, codes = ragged(*ROWS).pairs()
    assert list(zip(rows.tolist(), codes.tolist(), strict=True)) == [
        (row, code) for row, codes in enumerate(ROWS) for code in codes
    ]


def random_pairs(seed, n_rows=12, n_items=9):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60))
    return rng.integers(n_rows, size=n), rng.integers(n_items, size=n)


@pytest.mark.parametrize("seed", range(5))
def test_lists_from_pairs_are_distinct_and_ascending(seed):
    rows, codes = random_pairs(seed)
    expected = [sorted(set(codes[rows == row].tolist())) for row in range(12)]
    assert as_lists(Ragged.from_pairs(rows, codes, 12)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_without_leaves_the_rest_of_each_row(seed):
    mine, theirs = (Ragged.from_pairs(*random_pairs(s), 12) for s in (seed, seed + 100))
    expected = [
        [code for code in row if code not in other]
        for row, other in zip(as_lists(mine), as_lists(theirs), strict=True)
    ]
    assert as_lists(mine.without(theirs)) == expected


def test_lists_of_no_pairs():
    none = np.empty(0, dtype=np.int64)
    assert as_lists(Ragged.from_pairs(none, none, 2)) == [[], []]
    assert as_lists(ragged([1], []).without(Ragged.from_pairs(none, none, 2))) == [[1], []]


@pytest.mark.parametrize("seed", range(5))
def test_pair_keys_tell_pairs_apart_and_sort_as_they_do(seed):
    rows, codes = random_pairs(seed)
    codes = codes - 1  # -1 stands for an unknown code
    keys = pair_keys(rows, codes, 9)
    pairs = list(zip(rows.tolist(), codes.tolist(), strict=True))
    assert len(set(keys.tolist())) == len(set(pairs))
    assert [pairs[i] for i in np.argsort(keys, kind="stable")] == sorted(pairs)
    assert [(row, code - 1) for row, code in zip(*np.divmod(keys, 10), strict=True)] == pairs


def test_pair_keys_of_small_integers_do_not_overflow():
    rows = np.array([2**30], dtype=np.int32)
    assert pair_keys(rows, np.array([5], dtype=np.int32), 2**31).tolist() == [
        2**30 * (2**31 + 1) + 6
    ]


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_found_among_others(seed):
    mine, theirs = random_pairs(seed), random_pairs(seed + 50)
    others = set(zip(*(part.tolist() for part in theirs), strict=True))
    expected = [pair in others for pair in zip(*(part.tolist() for part in mine), strict=True)]
    assert isin_pairs(mine, theirs).tolist() == expected


def test_spans_are_ranges_one_after_the_other():
    places, offsets = span_places(np.array([7, 0, 3]), np.array([2, 0, 3]))
    assert places.tolist() == [7, 8, 3, 4, 5]
    assert offsets.tolist() == [0, 2, 2, 5]


def test_a_row_is_found_by_position():
    assert ragged(*ROWS).rows_at(np.arange(6)).tolist() == [0, 0, 2, 3, 3, 3]


@pytest.mark.parametrize("size", [1, 3, 2**17])
def test_counts_equal_those_of_a_loop(size, monkeypatch):
    monkeypatch.setattr("skmind.data.ragged.CHUNK_VALUES", size)
    codes = np.random.default_rng(0).integers(7, size=50)
    assert count(codes, 9).tolist() == [codes.tolist().count(code) for code in range(9)]
    assert count(codes[:0], 2).tolist() == [0, 0]


@pytest.mark.parametrize("chunk", [1, 4, 2**17])
def test_grouping_positions_keeps_the_order_within_equal_keys(chunk, monkeypatch):
    monkeypatch.setattr("skmind.data.ragged.CHUNK_VALUES", chunk)
    rng = np.random.default_rng(1)
    rows, keys = rng.integers(5, size=40), rng.integers(3, size=40)
    offsets, (places, sorted_keys) = group_rows(rows, 6, [np.arange(40), keys])
    expected = sorted(range(40), key=lambda i: (rows[i], keys[i], i))
    assert places.tolist() == expected
    assert sorted_keys.tolist() == keys[expected].tolist()
    assert np.diff(offsets).tolist() == [(rows == row).sum() for row in range(6)]


def test_find_says_where_a_code_is_in_its_row():
    rng = np.random.default_rng(0)
    ragged = Ragged.from_pairs(rng.integers(6, size=30), rng.integers(9, size=30), 7)
    pairs = [*zip(*(part.tolist() for part in ragged.pairs()), strict=True)]
    rows, codes = np.arange(7)[:, None], np.arange(-1, 20)
    places = ragged.find(rows, codes)
    for row in range(7):
        for code, place in zip(codes.tolist(), places[row].tolist(), strict=True):
            assert place == (pairs.index((row, code)) if (row, code) in pairs else -1)
    empty = Ragged(np.empty(0, dtype=np.int64), np.zeros(3, dtype=np.int64))
    assert empty.find(np.array([0, 1]), np.array([4, -1])).tolist() == [-1, -1]
