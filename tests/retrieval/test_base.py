import numpy as np
import pytest

from skmind.retrieval.annoy import AnnoyIndex
from skmind.retrieval.base import Hits, ItemLists, each
from skmind.retrieval.exact import ExactIndex


def excluding(*rows):
    """`ItemLists` of lists of codes, one a row."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    return ItemLists(np.array([code for row in rows for code in row], dtype=np.int64), offsets)


def as_lists(excluded):
    """The codes of each row."""
    return [part.tolist() for part in np.split(excluded.codes, excluded.offsets[1:-1])]


ROWS = [[4, 2], [], [7], [0, 1, 2], []]


def test_padding_holds_nothing():
    hits = Hits.padding(2, 3)
    assert hits.codes.tolist() == hits.interests.tolist() == [[-1] * 3] * 2
    assert hits.scores.tolist() == [[-np.inf] * 3] * 2
    assert [part.dtype for part in hits] == [np.int32, np.float32, np.int32]


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (0, 1), (1, 2), (1, 4), (3, 5), (2, 2)])
def test_rows_are_a_slice(start, stop):
    part = excluding(*ROWS).rows(start, stop)
    assert as_lists(part)[: stop - start] == ROWS[start:stop]
    assert part.offsets[0] == 0
    assert len(part.offsets) == stop - start + 1


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [3, 0], [1, 4], [2, 2, 0], []])
def test_take_gathers_rows(rows):
    part = excluding(*ROWS).take(np.array(rows, dtype=np.int64))
    assert as_lists(part)[: len(rows)] == [ROWS[row] for row in rows]
    assert len(part.offsets) == len(rows) + 1


def test_taken_rows_can_be_taken_again():
    part = excluding(*ROWS).rows(2, 5).take(np.array([1, 0])).rows(1, 2)
    assert as_lists(part) == [[7]]


def test_among_counts_allowed_items_only():
    allowed = np.zeros(8, dtype=bool)
    allowed[[1, 2, 4, 7]] = True
    assert as_lists(excluding(*ROWS).among(allowed)) == [[2, 1], [], [3], [0, 1], []]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_among_equals_a_loop(share):
    rng = np.random.default_rng(0)
    allowed = rng.random(30) < share
    rows = [rng.integers(30, size=rng.integers(12)).tolist() for _ in range(20)]
    new_code = {old: new for new, old in enumerate(np.flatnonzero(allowed).tolist())}
    expected = [[new_code[code] for code in row if allowed[code]] for row in rows]
    assert as_lists(excluding(*rows).among(allowed)) == expected


def test_pairs_name_the_row_of_every_code():
    rows, codes = excluding(*ROWS).pairs()
    assert list(zip(rows.tolist(), codes.tolist(), strict=True)) == [
        (row, code) for row, codes in enumerate(ROWS) for code in codes
    ]


def cosines(vectors, queries, mask, row, code):
    """Cosine of one item to every interest of a row; -inf to those out of use."""
    return np.where(mask[row], queries[row] @ vectors[code], -np.inf)


@pytest.mark.parametrize("kind", [ExactIndex, AnnoyIndex])
@pytest.mark.parametrize("seed", range(3))
def test_contract_of_every_index(kind, seed):
    """What `Index.search` promises, whatever the recall."""
    rng = np.random.default_rng(seed)
    n, B, K, D, k = 60, 25, 3, 8, 20
    vectors = rng.standard_normal((n, D), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.standard_normal((B, K, D), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=2, keepdims=True)
    mask = rng.random((B, K)) < 0.6
    mask[0], mask[1] = False, True
    excluded = excluding(*[rng.permutation(n)[: rng.integers(n + 1)] for _ in range(B)])
    allowed = rng.random(n) < 0.8 if seed else None
    eligible = np.ones((B, n), dtype=bool) if allowed is None else np.tile(allowed, (B, 1))
    eligible[excluded.pairs()] = False

    hits = kind(vectors).search(queries, mask, k, excluded, allowed)

    assert [(part.shape, part.dtype) for part in hits] == [
        ((B, k), np.int32),
        ((B, k), np.float32),
        ((B, k), np.int32),
    ]
    for row, (codes, scores, interests) in enumerate(zip(*hits, strict=True)):
        width = min(k, eligible[row].sum()) if mask[row].any() else 0
        assert (codes[:width] >= 0).all()
        assert eligible[row, codes[:width]].all()
        assert len(set(codes[:width].tolist())) == width
        assert codes[width:].tolist() == interests[width:].tolist() == [-1] * (k - width)
        assert (scores[width:] == -np.inf).all()
        assert (np.diff(scores[:width]) <= 0).all()
        for code, score, interest in zip(codes[:width], scores, interests, strict=False):
            near = cosines(vectors, queries, mask, row, code)
            assert score == pytest.approx(near.max(), abs=1e-6)
            assert near[interest] == pytest.approx(near.max(), abs=1e-6)


def test_widened_hits_have_padding_on_the_right():
    hits = Hits.padding(2, 1)
    hits.codes[:], hits.scores[:], hits.interests[:] = 5, 0.5, 1
    wide = hits.widened(3)
    assert wide.codes.tolist() == [[5, -1, -1]] * 2
    assert wide.scores.tolist() == [[0.5, -np.inf, -np.inf]] * 2
    assert wide.interests.tolist() == [[1, -1, -1]] * 2
    assert [part.dtype for part in wide] == [part.dtype for part in hits]
    assert wide.widened(2).codes.shape == (2, 3)  # never narrower


def random_pairs(seed, n_rows=12, n_items=9):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60))
    return rng.integers(n_rows, size=n), rng.integers(n_items, size=n)


@pytest.mark.parametrize("seed", range(5))
def test_lists_from_pairs_are_distinct_and_ascending(seed):
    rows, codes = random_pairs(seed)
    expected = [sorted(set(codes[rows == row].tolist())) for row in range(12)]
    assert as_lists(ItemLists.from_pairs(rows, codes, 12)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_without_leaves_the_rest_of_each_row(seed):
    mine, theirs = (ItemLists.from_pairs(*random_pairs(s), 12) for s in (seed, seed + 100))
    expected = [
        [code for code in row if code not in other]
        for row, other in zip(as_lists(mine), as_lists(theirs), strict=True)
    ]
    assert as_lists(mine.without(theirs)) == expected


def test_lists_of_no_pairs():
    none = np.empty(0, dtype=np.int64)
    assert as_lists(ItemLists.from_pairs(none, none, 2)) == [[], []]
    assert as_lists(excluding([1], []).without(ItemLists.from_pairs(none, none, 2))) == [[1], []]


@pytest.mark.parametrize("n_jobs", [None, 1, 3, -1])
def test_each_part_is_visited_once(n_jobs):
    seen = np.zeros(100)

    def visit(part):
        seen[part] += 1

    each(visit, np.array_split(np.arange(100), 7), n_jobs)
    assert (seen == 1).all()
    each(visit, [], n_jobs)


def test_each_passes_errors_on():
    def fail(part):
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        each(fail, [np.arange(2)] * 3, 2)
