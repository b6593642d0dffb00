"""One proof for many leaves and several sizes of an RFC 6962 tree.

The proof is the list, from left to right, of the roots of the largest subtrees that hold none of the chosen leaves and that no
chosen size cuts. From it, the chosen leaves and the size of the tree follow the root of the tree and the roots at all chosen sizes:
so one list is at once the inclusion proof of every leaf in each of these trees and the consistency proof between them. For one leaf it
is the audit path of RFC 6962 §2.1.1, for one size without a leaf the consistency proof of §2.1.2 with its first hash never left out;
the order alone differs. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from audit.chain import HASH_BYTES, MerkleTree, leaf_hash, node_hash, split_of
from audit.errors import VerificationError

_CHUNK = 1024


class _Marks:
    """Which leaves are chosen, and which sizes; both ascending."""

    def __init__(self, chosen: Sequence[int], sizes: Sequence[int]) -> None:
        self._chosen, self._sizes = chosen, sizes

    def inside(self, low: int, high: int) -> bool:
        """Say whether the leaves low ≤ i < high hold a chosen one, or a chosen size lies between them."""
        leaf, size = bisect_left(self._chosen, low), bisect_right(self._sizes, low)
        return (leaf < len(self._chosen) and self._chosen[leaf] < high) or (size < len(self._sizes) and self._sizes[size] < high)


def gaps(size: int, chosen: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give the ranges of leaves, low ≤ i < high, whose roots are the proof, in its order. Both sequences must be ascending."""
    marks, waiting = _Marks(chosen, sizes), [(0, size)] if size else []
    while waiting:
        low, high = waiting.pop()
        if not marks.inside(low, high):
            yield low, high
        elif high - low > 1:
            middle = low + split_of(high - low)
            waiting += [(middle, high), (low, middle)]


def prove(lines: Iterable[bytes], size: int, chosen: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
    """Return the proof for the chosen leaves and sizes of the tree over the first `size` lines; they are read once, in order."""
    found: list[bytes] = []
    rest, position = iter(lines), 0
    for low, high in gaps(size, chosen, sizes):
        for _ in islice(rest, low - position):
            pass
        tree = MerkleTree()
        for begin in range(low, high, _CHUNK):
            tree.extend([leaf_hash(line) for line in islice(rest, min(_CHUNK, high - begin))])
        if tree.size != high - low:
            raise VerificationError(f"There are fewer than {size} lines to prove.", remedy="Take the trail from its store again.")
        found.append(tree.root())
        position = high
    return found


def roots(size: int, leaves: Mapping[int, bytes], sizes: Sequence[int], proof: Sequence[bytes]) -> dict[int, bytes]:
    """Return the roots at `size` and at each of `sizes` that the leaf hashes (by number) and the proof lead to.

    Raises VerificationError where the proof has another number of hashes than these leaves and sizes ask for, or a leaf or a size
    lies outside the tree. Whether the roots are the signed ones is for the caller to say.
    """
    chosen, marks = sorted(leaves), sorted(set(sizes))
    if not size or (chosen and not 0 <= chosen[0] <= chosen[-1] < size) or (marks and not 0 < marks[0] <= marks[-1] <= size):
        raise VerificationError(f"An entry or a size lies outside the tree of {size} leaves.")
    if any(len(value) != HASH_BYTES for value in proof):
        raise VerificationError(f"A hash in the proof does not have {HASH_BYTES} bytes.")
    nodes: dict[tuple[int, int], bytes] = {}
    given = iter(proof)
    inside = _Marks(chosen, marks).inside

    def node(low: int, high: int) -> bytes:
        if not inside(low, high):
            value = next(given, b"")
        elif high - low == 1:
            value = leaves[low]
        else:
            middle = low + split_of(high - low)
            value = node_hash(node(low, middle), node(middle, high))
        nodes[low, high] = value
        return value

    def front(low: int, high: int) -> bytes:
        """Return the root over low ≤ i < high where `high` is one of the sizes."""
        if (low, high) in nodes:
            return nodes[low, high]
        middle = low + split_of(high - low)
        return node_hash(nodes[low, middle], front(middle, high))

    node(0, size)
    if next(given, None) is not None:
        raise VerificationError("The proof has more hashes than its entries and sizes ask for.")
    if b"" in nodes.values():
        raise VerificationError("The proof has fewer hashes than its entries and sizes ask for.")
    return {wanted: front(0, wanted) for wanted in {size, *marks}}
