"""RFC 6962 trees and proofs, against the published eight-leaf roots and a naive reading of the RFC."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import chain
from audit.errors import VerificationError

# The test tree of the transparency-dev reference implementation of RFC 6962.
LEAVES = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
DATA = [n.to_bytes(2, "big") for n in range(64)]


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert chain.root(LEAVES[:size]).hex() == ROOTS[size]


def test_incremental_tree_equals_the_definition_and_copies_are_independent() -> None:
    tree = chain.MerkleTree()
    for size, data in enumerate(DATA):
        assert (tree.size, tree.root()) == (size, naive_root(DATA[:size]))
        twin = tree.copy()
        twin.append(b"other")
        tree.append_hash(chain.leaf_hash(data))
        assert twin.root() != tree.root()


@given(st.lists(st.integers(0, 40), max_size=6))
def test_adding_many_at_once_equals_adding_one_by_one(counts: list[int]) -> None:
    together, single = chain.MerkleTree(), chain.MerkleTree()
    for count in counts:
        leaves = [chain.leaf_hash(DATA[n % 64]) for n in range(count)]
        together.extend(leaves)
        for leaf in leaves:
            single.append_hash(leaf)
        assert (together.size, together.peaks, together.root()) == (single.size, single.peaks, single.root())


@given(st.integers(0, 5), st.integers(0, 16))
def test_trees_over_aligned_parts_make_the_tree_over_all(wholes: int, rest: int) -> None:
    joined, single = chain.MerkleTree(), chain.MerkleTree()
    for count in [*([16] * wholes), rest]:
        part = chain.MerkleTree()
        leaves = [chain.leaf_hash(DATA[n]) for n in range(count)]
        part.extend(leaves)
        joined.append_subtrees(count, part.peaks)
        single.extend(leaves)
        assert (joined.size, joined.root(), chain.fold_peaks(joined.peaks)) == (single.size, single.root(), single.root())
    if joined.size % 16:
        with pytest.raises(ValueError, match="no part of a tree"):
            joined.append_subtrees(16, (bytes(32),))


def test_every_inclusion_proof_up_to_64_leaves() -> None:
    for size in range(1, 65):
        leaves = DATA[:size]
        root = naive_root(leaves)
        for index in range(size):
            proof = chain.inclusion_proof(leaves, index)
            chain.verify_inclusion(chain.leaf_hash(leaves[index]), index, size, proof, root)


def test_every_consistency_proof_up_to_64_leaves() -> None:
    roots = [naive_root(DATA[:size]) for size in range(65)]
    for size2 in range(1, 65):
        for size1 in range(1, size2 + 1):
            proof = chain.consistency_proof(DATA[:size2], size1)
            chain.verify_consistency(size1, roots[size1], size2, roots[size2], proof)


@given(st.data())
def test_no_changed_inclusion_proof_verifies(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 64))
    index = data.draw(st.integers(0, size - 1))
    proof = chain.inclusion_proof(DATA[:size], index)
    leaf, root = chain.leaf_hash(DATA[index]), naive_root(DATA[:size])
    place = data.draw(st.integers(0, len(proof) - 1))
    damaged = proof.copy()
    damaged[place] = bytes([damaged[place][0] ^ 1]) + damaged[place][1:]
    for bad in (damaged, proof[:-1], [*proof, proof[0]]):
        with pytest.raises(VerificationError):
            chain.verify_inclusion(leaf, index, size, bad, root)
    with pytest.raises(VerificationError):
        chain.verify_inclusion(chain.leaf_hash(b"other"), index, size, proof, root)


@given(st.data())
def test_no_changed_consistency_proof_verifies(data: st.DataObject) -> None:
    size2 = data.draw(st.integers(2, 64))
    size1 = data.draw(st.integers(1, size2 - 1))
    proof = chain.consistency_proof(DATA[:size2], size1)
    root1, root2 = naive_root(DATA[:size1]), naive_root(DATA[:size2])
    place = data.draw(st.integers(0, len(proof) - 1))
    damaged = proof.copy()
    damaged[place] = bytes([damaged[place][0] ^ 1]) + damaged[place][1:]
    for bad in (damaged, proof[:-1], [*proof, proof[0]]):
        with pytest.raises(VerificationError):
            chain.verify_consistency(size1, root1, size2, root2, bad)
    with pytest.raises(VerificationError):
        chain.verify_consistency(size1, root1, size2, root1, proof)


def test_refusals() -> None:
    one, two = naive_root(DATA[:1]), naive_root(DATA[:2])
    leaf = chain.leaf_hash(DATA[0])
    for call in (
        lambda: chain.inclusion_proof(DATA, 64),
        lambda: chain.inclusion_proof([], 0),
        lambda: chain.consistency_proof(DATA, 0),
        lambda: chain.consistency_proof(DATA, 65),
        lambda: chain.verify_inclusion(leaf, 1, 1, [], one),
        lambda: chain.verify_inclusion(leaf[:31], 0, 1, [], one),
        lambda: chain.verify_inclusion(leaf, 0, 1, [], one[:31]),
        lambda: chain.verify_inclusion(leaf, 0, 2, [b"short"], two),
        lambda: chain.verify_consistency(0, chain.EMPTY_ROOT, 2, two, []),
        lambda: chain.verify_consistency(2, two, 1, one, []),
        lambda: chain.verify_consistency(1, one, 1, one, [two]),
        lambda: chain.verify_consistency(1, one, 1, two, []),
        lambda: chain.verify_consistency(1, one, 2, two, [leaf[:5]]),
        lambda: chain.verify_consistency(3, naive_root(DATA[:3]), 4, naive_root(DATA[:4]), []),
        lambda: chain.verify_consistency(3, naive_root(DATA[:3]), 4, naive_root(DATA[:4]), [one]),
    ):
        with pytest.raises(VerificationError):
            call()
    chain.verify_consistency(1, one, 1, one, [])


def test_the_digest_of_an_entry_is_its_leaf_hash_in_hex() -> None:
    """The vector for a leaf without bytes is that of transparency-dev/merkle (`rfc6962` tests)."""
    assert chain.entry_digest(b"") == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert chain.entry_digest(b"abc") == chain.leaf_hash(b"abc").hex()
