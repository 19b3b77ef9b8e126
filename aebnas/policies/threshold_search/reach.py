"""The number of samples that pass each exit under many threshold vectors at once, by bit sets.

"Sample stays at exit k under threshold t" is a set of samples that only grows with t, so all sets of an exit are
the prefixes of one order: a table of bit rows, one row per distinct set. The samples beyond exit k under a vector
are the AND of k rows, looked up and counted 64 samples at a time. Samples are ordered by their score at the first
exit and vectors by their first threshold, so words beyond the last sample that stays at the first exit are
skipped. Samples are split into blocks (their counts add up), which bounds the size of the tables; the samples of a
block have the same worth, so that gains are whole numbers times it.

With g the change of correctness from one exit to the next (-1, 0, 1), sum g over a set R is
|(R & D) ^ B| - |B|, where D holds the samples with g != 0 and B those with g = -1: one count, not two.

Legend: n samples of a block, k early exits, t threshold vectors, w words of 64 samples, f weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK_SAMPLES = 4096
"""Samples of a block: the table of an exit holds at most the square of this number of bits (2 MiB)."""
CHUNK_VECTORS = 1024
"""Vectors processed together: their rows, of a full block, fit into the processor's cache."""
MAX_CHUNK_VECTORS = 65_536
"""The same for small blocks."""
CHUNK_WEIGHTED = 64
"""The same where weights are summed, which requires 64 times the memory."""


@dataclass(frozen=True)
class Reached:
    """Sums over the samples that pass each early exit: `count_kt`, gains `gain_kt`, weights `weight_ktf`.

    Gains are whole numbers unless samples have a worth.
    """

    count_kt: np.ndarray
    gain_kt: np.ndarray
    weight_ktf: np.ndarray


def reached(
    scores_nk: np.ndarray,
    thresholds_tk: np.ndarray,
    gain_nk: np.ndarray,
    weights_nkf: np.ndarray | None = None,
    worth_n: np.ndarray | None = None,
) -> Reached:
    """Sums over the samples that pass exits 0..k (no score above its threshold), for every threshold vector.

    Scores and thresholds are float32, `gain_nk` is -1, 0 or 1. Counts and gains are exact whole numbers; a gain is
    multiplied by its sample's `worth_n`, of which there should be few different ones. `weights_nkf` (any numbers) are
    summed in float64.
    """
    vectors, early = thresholds_tk.shape
    weights_nkf = np.zeros((len(scores_nk), early, 0)) if weights_nkf is None else weights_nkf
    found = Reached(
        np.zeros((early, vectors), dtype=np.int64),
        np.zeros((early, vectors), dtype=np.int64 if worth_n is None else np.float64),
        np.zeros((early, vectors, weights_nkf.shape[2])),
    )
    if vectors == 0 or early == 0:
        return found
    first = np.argsort(thresholds_tk[:, 0])
    sorted_kt = np.ascontiguousarray(thresholds_tk[first].T)
    orders_kt = np.argsort(sorted_kt, axis=1)
    ascending_kt = np.take_along_axis(sorted_kt, orders_kt, axis=1)
    for block_n, worth in _blocks(len(scores_nk), worth_n):
        order = block_n[np.argsort(scores_nk[block_n, 0], kind="stable")]
        scores_kn = np.ascontiguousarray(scores_nk[order].T)
        rows = [_rows(*each) for each in zip(scores_kn, ascending_kt, orders_kt, strict=True)]
        staying_t = np.searchsorted(scores_kn[0], sorted_kt[0], side="right")
        _add_block(rows, staying_t, gain_nk[order], weights_nkf[order], worth, found)
    back = np.empty_like(first)
    back[first] = np.arange(vectors)
    return Reached(found.count_kt[:, back], found.gain_kt[:, back], found.weight_ktf[:, back])


def _blocks(samples: int, worth_n: np.ndarray | None) -> Iterator[tuple[np.ndarray, float]]:
    """Indices of the samples of each block, and the worth of each of them (1 where none is given)."""
    worths = [None] if worth_n is None else np.unique(worth_n).tolist()
    for worth in worths:
        same_n = np.arange(samples) if worth is None else np.flatnonzero(worth_n == worth)
        for start in range(0, len(same_n), BLOCK_SAMPLES):
            yield same_n[start : start + BLOCK_SAMPLES], 1 if worth is None else worth


def _add_block(
    rows: list[tuple[np.ndarray, np.ndarray]],
    staying_t: np.ndarray,
    gain_nk: np.ndarray,
    weights_nkf: np.ndarray,
    worth: float,
    found: Reached,
) -> None:
    """Add a block of samples of equal worth, of which vector t keeps the first `staying_t` at the first exit
    (ascending)."""
    samples, early = gain_nk.shape
    changed_kw = [_pack(gain_nk[:, exit_] != 0) for exit_ in range(early)]
    lost_kw = [_pack(gain_nk[:, exit_] < 0) for exit_ in range(early)]
    weighted = weights_nkf.shape[2] > 0
    found.count_kt[0] += staying_t
    found.gain_kt[0] += worth * np.concatenate([[0], np.cumsum(gain_nk[:, 0], dtype=np.int64)])[staying_t]
    chunk = min(MAX_CHUNK_VECTORS, (CHUNK_WEIGHTED if weighted else CHUNK_VECTORS) * max(1, BLOCK_SAMPLES // samples))
    for start in range(0, len(staying_t), chunk):
        part = slice(start, min(start + chunk, len(staying_t)))
        words = -(-int(staying_t[part.stop - 1]) // 64)
        if words == 0:
            continue
        whole = int(staying_t[part.start]) // 64  # in the words before it every sample stays at the first exit
        running_tw = np.full((part.stop - start, words), ~np.uint64(0))
        for exit_, (bits_uw, row_t) in enumerate(rows):
            if exit_ == 0:
                running_tw[:, whole:] = bits_uw[row_t[part], whole:words]
            else:
                running_tw &= bits_uw[row_t[part], :words]
                found.count_kt[exit_, part] += _ones(running_tw)
                lost_w = lost_kw[exit_][:words]
                gain_t = _ones((running_tw & changed_kw[exit_][:words]) ^ lost_w)
                found.gain_kt[exit_, part] += worth * (gain_t - _ones(lost_w))
            if weighted:
                shown_tn = np.unpackbits(running_tw.view(np.uint8), axis=1, bitorder="little")[:, :samples]
                found.weight_ktf[exit_, part] += shown_tn.astype(float) @ weights_nkf[: shown_tn.shape[1], exit_]


def _rows(scores_n: np.ndarray, ascending_t: np.ndarray, order_t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sets of samples that stay (score <= threshold) as rows of bits `[u, w]`, and the row of each threshold `[t]`.

    `ascending_t` are the thresholds in the order `order_t`.
    """
    below_n = np.searchsorted(ascending_t, scores_n, side="left")  # thresholds too low for the sample to stay
    count_t = np.cumsum(np.bincount(below_n, minlength=len(ascending_t) + 1))[:-1]  # samples that stay
    ascending_row_t = np.cumsum(np.diff(count_t, prepend=count_t[0]) > 0)
    row_t = np.empty(len(order_t), dtype=np.int64)
    row_t[order_t] = ascending_row_t
    sets = int(ascending_row_t[-1]) + 1
    # the first set that contains a sample; samples that never stay go into an extra row
    first_n = np.append(ascending_row_t, sets)[below_n]
    at_n = np.arange(len(scores_n))
    bits_uw = np.zeros((sets + 1, -(-len(scores_n) // 64)), dtype=np.uint64)
    np.bitwise_or.at(bits_uw, (first_n, at_n >> 6), np.uint64(1) << (at_n & 63).astype(np.uint64))
    np.bitwise_or.accumulate(bits_uw[:-1], axis=0, out=bits_uw[:-1])
    return bits_uw, row_t


def _pack(bools_n: np.ndarray) -> np.ndarray:
    padded = np.zeros(-(-len(bools_n) // 64) * 64, dtype=bool)
    padded[: len(bools_n)] = bools_n
    return np.packbits(padded, bitorder="little").view(np.uint64)


def _ones(bits_w: np.ndarray) -> np.ndarray:
    """Number of ones of each row of words `[..., w]`, int64."""
    return np.bitwise_count(bits_w).sum(axis=-1, dtype=np.uint16).astype(np.int64)
