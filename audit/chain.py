"""The shape of a trail: links between entries, and the Merkle tree over them.

Each entry names the digest of the one before it; the entries are also the leaves of an RFC 6962 tree, whose root a
checkpoint signs and whose proofs let an outsider check one entry, or that a longer trail extends a shorter one. The digest of an
entry is its leaf hash: chain, tree and proofs name an entry by one value. Hashes are 32 bytes, digests in entries are lower-case hex.
Pure. Source: RFC 6962 §2.1, RFC 9162 §2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from audit.errors import VerificationError

HASH_BYTES = 32
GENESIS = "0" * 64
EMPTY_ROOT = hashlib.sha256(b"").digest()


def entry_digest(canonical_bytes: bytes) -> str:
    """Return the digest of an entry: the hex of its leaf hash, which the next entry holds as `prev`."""
    return hashlib.sha256(b"\x00" + canonical_bytes).hexdigest()


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ data). Source: RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right). Source: RFC 6962 §2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An RFC 6962 tree that only grows: O(log n) memory, O(log n) per append and per root.

    Holds the roots of the complete subtrees, largest first, as the binary digits of the size ask.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        self._peaks: list[bytes] = []
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        """Add one leaf given its data (not its hash)."""
        self.append_hash(leaf_hash(data))

    def append_hash(self, leaf: bytes) -> None:
        """Add one leaf given its leaf hash."""
        carry = leaf
        trailing = self._size
        while trailing & 1:
            carry = node_hash(self._peaks.pop(), carry)
            trailing >>= 1
        self._peaks.append(carry)
        self._size += 1

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add many leaves given their leaf hashes: level by level, which is cheaper than one by one."""
        nodes, remaining, added, sha256 = list(leaves), self._size, list[bytes](), hashlib.sha256
        self._size += len(nodes)
        while nodes:
            if remaining & 1:
                nodes.insert(0, self._peaks.pop())
            if len(nodes) & 1:
                added.append(nodes.pop())
            pairs = iter(nodes)
            nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            remaining >>= 1
        self._peaks.extend(reversed(added))

    def append_subtrees(self, count: int, peaks: Sequence[bytes]) -> None:
        """Add `count` leaves given the peaks of the tree over them alone.

        Raises ValueError where their subtrees are none of this tree's: its size must be a multiple of a power of two ≥ count.
        """
        if self._size & ((1 << (count - 1).bit_length()) - 1 if count else 0):
            raise ValueError(f"{count} leaves together are no part of a tree that has {self._size} before them")
        remaining = iter(peaks)
        for level in reversed(range(count.bit_length())):
            if count >> level & 1:
                carry, trailing = next(remaining), self._size >> level
                while trailing & 1:
                    carry = node_hash(self._peaks.pop(), carry)
                    trailing >>= 1
                self._peaks.append(carry)
                self._size += 1 << level

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The roots of the complete subtrees that the size is made of, largest first."""
        return tuple(self._peaks)

    def root(self) -> bytes:
        """Return the root of what has been appended so far; SHA-256 of nothing for the empty tree."""
        return fold_peaks(self._peaks)

    def copy(self) -> MerkleTree:
        """Return an independent tree of the same leaves."""
        twin = MerkleTree()
        twin._peaks = self._peaks.copy()
        twin._size = self._size
        return twin


def fold_peaks(peaks: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees given largest first, as `MerkleTree.peaks` has them."""
    if not peaks:
        return EMPTY_ROOT
    result = peaks[-1]
    for peak in reversed(peaks[:-1]):
        result = node_hash(peak, result)
    return result


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the Merkle tree hash of leaf data."""
    tree = MerkleTree()
    for data in leaves:
        tree.append(data)
    return tree.root()


def split_of(size: int) -> int:
    """Return the largest power of two below `size` (size > 1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _subroot(hashes: Sequence[bytes]) -> bytes:
    tree = MerkleTree()
    for leaf in hashes:
        tree.append_hash(leaf)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of leaf `index` among the leaf data, from the leaf upwards.

    Raises VerificationError where the index is not a leaf. Source: RFC 6962 §2.1.1.
    """
    if not 0 <= index < len(leaves):
        raise VerificationError(f"Leaf {index} is not in a tree of {len(leaves)} leaves.")
    return _path(index, [leaf_hash(data) for data in leaves])


def _path(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    if len(hashes) == 1:
        return []
    middle = split_of(len(hashes))
    if index < middle:
        return [*_path(index, hashes[:middle]), _subroot(hashes[middle:])]
    return [*_path(index - middle, hashes[middle:]), _subroot(hashes[:middle])]


def consistency_proof(leaves: Sequence[bytes], size1: int) -> list[bytes]:
    """Return the proof that the tree of all the leaf data extends the tree of the first `size1`.

    Raises VerificationError for size1 = 0 (every tree extends the empty one, so such a proof would say nothing)
    and for size1 beyond the tree. Source: RFC 6962 §2.1.2.
    """
    if not 0 < size1 <= len(leaves):
        raise VerificationError(f"There is no consistency proof from size {size1} to size {len(leaves)}.")
    return _subproof(size1, [leaf_hash(data) for data in leaves], True)


def _subproof(size1: int, hashes: Sequence[bytes], whole: bool) -> list[bytes]:
    if size1 == len(hashes):
        return [] if whole else [_subroot(hashes)]
    middle = split_of(len(hashes))
    if size1 <= middle:
        return [*_subproof(size1, hashes[:middle], whole), _subroot(hashes[middle:])]
    return [*_subproof(size1 - middle, hashes[middle:], False), _subroot(hashes[:middle])]


def consistency_proof_of(hashes: Iterable[bytes], size1: int, size2: int) -> list[bytes]:
    """Return the same proof from the leaf hashes in their order, read once and not kept: O(log n) memory.

    Raises VerificationError for sizes without a proof, and where there are fewer than `size2` hashes. Source: RFC 6962 §2.1.2.
    """
    if not 0 < size1 <= size2:
        raise VerificationError(f"There is no consistency proof from size {size1} to size {size2}.")
    ranges = _proof_ranges(size1, size2)
    ends = {end: (begin, end) for begin, end in ranges}
    tree, found, seen = MerkleTree(), dict[tuple[int, int], bytes](), 0
    begins = {begin for begin, _ in ranges}
    for leaf in hashes:
        if seen in begins:
            tree = MerkleTree()
        tree.append_hash(leaf)
        seen += 1
        if seen in ends:
            found[ends[seen]] = tree.root()
        if seen == size2:
            return [found[place] for place in ranges]
    raise VerificationError(f"There are {seen} leaves, not {size2}: no consistency proof can be made.")


def _proof_ranges(size1: int, size2: int) -> list[tuple[int, int]]:
    """Return the leaves begin ≤ n < end under each hash of a consistency proof, in the order of the proof; no two overlap."""
    ranges: list[tuple[int, int]] = []
    begin, end, whole = 0, size2, True
    while size1 != end - begin:
        middle = begin + split_of(end - begin)
        if size1 <= middle - begin:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            size1, begin, whole = size1 - (middle - begin), middle, False
    if not whole:
        ranges.append((begin, end))
    return ranges[::-1]


def _check_lengths(*hashes: bytes) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise VerificationError(f"A hash in the proof has {len(value)} bytes instead of {HASH_BYTES}.")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes) -> None:
    """Check that the leaf with hash `leaf` is number `index` of the tree of `size` leaves with this root.

    Raises VerificationError where it is not. Source: RFC 9162 §2.1.3.2.
    """
    if not 0 <= index < size:
        raise VerificationError(f"Leaf {index} is not in a tree of {size} leaves.")
    _check_lengths(leaf, tree_root, *proof)
    position, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError("The inclusion proof is too long.")
        if position & 1 or position == last:
            result = node_hash(sibling, result)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise VerificationError("The inclusion proof is too short.")
    if result != tree_root:
        raise VerificationError(f"Leaf {index} is not under this root.")


def verify_consistency(size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `size2` leaves begins with the tree of `size1` leaves.

    Raises VerificationError where it does not, for size1 = 0, and for hashes that are not 32 bytes.
    Source: RFC 9162 §2.1.4.2.
    """
    if not 0 < size1 <= size2:
        raise VerificationError(f"There is no consistency from size {size1} to size {size2}.")
    _check_lengths(root1, root2, *proof)
    if size1 == size2:
        if proof:
            raise VerificationError("The consistency proof of equal sizes must be empty.")
        if root1 != root2:
            raise VerificationError(f"Two different roots for size {size1}: the trail has been forked.")
        return
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    if not path:
        raise VerificationError("The consistency proof is too short.")
    old, new = _fold_consistency(path, size1 - 1, size2 - 1)
    if old != root1:
        raise VerificationError(f"The proof does not lead to the root of size {size1}.")
    if new != root2:
        raise VerificationError(f"The tree of {size2} leaves does not extend the tree of {size1}.")


def _fold_consistency(path: Sequence[bytes], first: int, last: int) -> tuple[bytes, bytes]:
    """Rebuild the old and the new root from a consistency path. Source: RFC 9162 §2.1.4.2, steps 4 to 6."""
    while first & 1:
        first >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise VerificationError("The consistency proof is too long.")
        if first & 1 or first == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        first >>= 1
        last >>= 1
    if last:
        raise VerificationError("The consistency proof is too short.")
    return old, new
