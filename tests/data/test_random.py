"""Counter-based random numbers against a reference in Python, and SciPy's statistical tests."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from mlpkit.data._random import derive, noise, permutation, random_bits, uniforms

CPU = torch.device("cpu")
MASK = 2**64 - 1


def splitmix(state: int, index: int) -> int:
    """Return the published splitmix64 output function, in Python integers."""
    z = (state + index * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_the_published_sequence() -> None:
    """Seed 1234567 gives the first outputs published for splitmix64."""
    bits = random_bits(1234567, torch.arange(1, 4)).tolist()
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [value & MASK for value in bits] == expected


@pytest.mark.parametrize("state", [0, 1, 2**63, 2**64 - 1, derive(3, 4)])
def test_tensor_operations_agree_with_python_integers(state: int) -> None:
    """Wrapping products and masked shifts equal unsigned arithmetic."""
    indices = torch.tensor([0, 1, 2, 59_999, 2**31, 2**62])
    expected = [splitmix(state, index) for index in indices.tolist()]
    assert [value & MASK for value in random_bits(state, indices).tolist()] == expected


def test_derive_depends_on_every_word_and_on_their_order() -> None:
    states = {derive(0), derive(0, 0), derive(0, 1), derive(1, 0), derive(0, 1, 2), derive(0, 2, 1)}
    assert len(states) == 6


def test_no_two_indices_collide() -> None:
    assert len(set(random_bits(derive(5), torch.arange(300_000)).tolist())) == 300_000


def test_a_permutation_holds_every_number_once() -> None:
    order = permutation(derive(7), 10_007, CPU)
    assert torch.equal(order.sort().values, torch.arange(10_007))


def test_permutations_of_successive_epochs_are_unrelated() -> None:
    """Spearman's rank correlation of 40 pairs is within 4.5 standard deviations of 0."""
    orders = [permutation(derive(0, epoch), 2_000, CPU).numpy() for epoch in range(41)]
    ranks = [stats.spearmanr(a, b).statistic for a, b in itertools.pairwise(orders)]
    assert np.abs(ranks).max() < 4.5 / np.sqrt(2_000)


def test_every_position_of_a_permutation_is_equally_likely() -> None:
    """The 24 permutations of four items are counted over 24,000 seeds."""
    orders = [tuple(permutation(derive(seed), 4, CPU).tolist()) for seed in range(24_000)]
    _, counts = np.unique(np.array(orders), axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-4


def test_uniforms_are_uniform_and_independent() -> None:
    drawn = uniforms(derive(1), torch.arange(20_000), 6).numpy()
    assert 0.0 < drawn.min() < drawn.max() < 1.0
    for column in drawn.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    correlation = np.corrcoef(drawn, rowvar=False) - np.eye(6)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(20_000)


def test_noise_is_uniform_symmetric_and_uncorrelated() -> None:
    """Numbers are uncorrelated within an image, between images and between epochs."""
    drawn = noise(derive(1), torch.arange(500), 1_568).numpy().astype(np.float64)
    assert -1.0 < drawn.min() < drawn.max() < 1.0
    assert stats.kstest(drawn.ravel()[::7], stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert drawn.mean() == pytest.approx(0.0, abs=4.5 / np.sqrt(3 * drawn.size))
    assert drawn.var() == pytest.approx(1 / 3, rel=0.005)
    other = noise(derive(2), torch.arange(500), 1_568).numpy().astype(np.float64)
    pairs = {
        "neighboring pixels": (drawn[:, 1:], drawn[:, :-1]),
        "the two halves of a word": (drawn[:, 0::2], drawn[:, 1::2]),
        "the pixel below": (drawn[:, 28:], drawn[:, :-28]),
        "x and y of a displacement": (drawn[:, :784], drawn[:, 784:]),
        "neighboring images": (drawn[1:], drawn[:-1]),
        "another epoch": (drawn, other),
        "squares of neighbors": (drawn[:, 1:] ** 2, drawn[:, :-1] ** 2),
    }
    for name, (first, second) in pairs.items():
        correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        assert abs(correlation) < 4.5 / np.sqrt(first.size), name


def test_each_bit_of_the_noise_is_fair() -> None:
    drawn = noise(derive(9), torch.arange(200), 1_568)
    words = (drawn * 2**15 - 0.5).to(torch.int32) & 0xFFFF
    for bit in range(16):
        ones = int(((words >> bit) & 1).sum())
        assert stats.binomtest(ones, words.numel()).pvalue > 1e-4, bit


@pytest.mark.parametrize("count", [1, 7, 1_568])
def test_the_numbers_of_an_index_do_not_depend_on_its_batch(count: int) -> None:
    """An index gives the same bits alone, in a batch and in another order."""
    indices = torch.tensor([5, 0, 59_999, 17])
    together = noise(derive(3), indices, count)
    assert together.shape == (4, count)
    for row, index in enumerate(indices):
        assert torch.equal(noise(derive(3), index.view(1), count)[0], together[row])
        assert torch.equal(
            uniforms(derive(3), index.view(1), count)[0], uniforms(derive(3), indices, count)[row]
        )


def noise_in_integers(state: int, index: int, count: int) -> list[float]:
    """Return the documented values of `noise` in Python integers: a keyed lowbias32 hash."""
    key = splitmix(state, index)
    low, high = key & 0xFFFFFFFF, key >> 32
    values = []
    for counter in range((count + 1) // 2):
        x = (counter * 0x9E3779B9 + low) & 0xFFFFFFFF
        x ^= x >> 16
        x = ((x * 0x7FEB352D) & 0xFFFFFFFF) ^ high
        x ^= x >> 15
        x = (x * 0x846CA68B) & 0xFFFFFFFF
        x ^= x >> 16
        for half in (x & 0xFFFF, x >> 16):
            signed = half - 2**16 if half >= 2**15 else half
            values.append((signed + 0.5) / 2**15)
    return values[:count]


@pytest.mark.skipif(sys.byteorder == "big", reason="the halves of a word are swapped")
def test_noise_agrees_with_python_integers() -> None:
    indices = torch.tensor([0, 1, 59_999])
    drawn = noise(derive(8), indices, 33)
    expected = [noise_in_integers(derive(8), index, 33) for index in indices.tolist()]
    assert drawn.tolist() == expected


@pytest.mark.parametrize("words", [(), (0,), (1, 2), (-1,), (2**64 + 5, 7), (2**63,)])
@pytest.mark.parametrize("seed", [0, 1, -1, 2**64 + 3])
def test_a_state_is_a_chain_of_splitmix(seed: int, words: tuple[int, ...]) -> None:
    """So the same seed gives the same numbers in every version; all integers count modulo 2**64."""
    expected = splitmix(seed & MASK, 0)
    for word in words:
        expected = splitmix((expected + word) & MASK, 1)
    assert derive(seed, *words) == expected
