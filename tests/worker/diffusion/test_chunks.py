"""Tokens are laid out in chunks of 75."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from easel_worker.diffusion.chunks import CHUNK_TOKENS, PLACEHOLDER, Chunk, TokenSpan, split_chunks
from easel_worker.diffusion.embeddings import Embedding, EmbeddingTable

COMMA = 267
CUT = TokenSpan(cut=True)


def embedding(name: str, count: int) -> Embedding:
    return Embedding(name, {"clip": torch.zeros(count, 4)}, sha256="0" * 64)


def table(**names: tuple[int, list[int]]) -> EmbeddingTable:
    """Embeddings by name: how many vectors, and the name's tokens."""
    loaded = {name: embedding(name, count) for name, (count, _) in names.items()}
    return EmbeddingTable(loaded, {}, {name: ids for name, (_, ids) in names.items()})


def split(ids: list[int], **options: object) -> list[Chunk]:
    return split_chunks([TokenSpan(ids)], comma=COMMA, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("length", "sizes"), [(0, [0]), (1, [1]), (75, [75]), (76, [75, 1]), (150, [75, 75]), (151, [75, 75, 1])]
)
def test_sizes(length: int, sizes: list[int]) -> None:
    ids = list(range(1000, 1000 + length))
    chunks = split(ids)
    assert [len(chunk) for chunk in chunks] == sizes
    assert [token for chunk in chunks for token in chunk.ids] == ids


@pytest.mark.parametrize(
    ("comma_at", "first_chunk"),
    [
        (54, 75),  # 21 tokens back: too far
        (55, 56),  # 20 tokens back: the rest moves on
        (74, 75),
        (75, 75),  # the comma itself overflows: the phrase before it fits
    ],
)
def test_a_phrase_after_a_late_comma_moves_to_the_next_chunk(comma_at: int, first_chunk: int) -> None:
    ids = [1] * 80
    ids[comma_at] = COMMA
    chunks = split(ids)
    assert len(chunks[0]) == first_chunk
    assert sum(map(len, chunks)) == 80


def test_the_comma_rule_can_be_turned_off_and_needs_a_comma() -> None:
    ids = [1] * 60 + [COMMA] + [1] * 20
    assert [len(chunk) for chunk in split(ids)] == [61, 20]
    assert [len(chunk) for chunk in split(ids, backtrack=0)] == [75, 6]
    assert [len(chunk) for chunk in split_chunks([TokenSpan(ids)], comma=None)] == [75, 6]


def test_the_comma_rule_works_across_spans_and_keeps_the_weights() -> None:
    spans = [TokenSpan([1] * 60 + [COMMA], 1.0), TokenSpan([2] * 10, 1.3), TokenSpan([3] * 10, 0.5)]
    first, second = split_chunks(spans, comma=COMMA)
    assert first.ids == [1] * 60 + [COMMA]
    assert second.ids == [2] * 10 + [3] * 10
    assert second.weights == [1.3] * 10 + [0.5] * 10


@pytest.mark.parametrize(
    ("spans", "sizes"),
    [
        ([TokenSpan([1]), CUT, TokenSpan([2, 3])], [1, 2]),
        ([TokenSpan(), CUT, TokenSpan()], [0]),
        ([CUT, TokenSpan([1])], [0, 1]),
        ([TokenSpan([1]), CUT, TokenSpan()], [1]),
        ([TokenSpan([1]), CUT, TokenSpan(), CUT, TokenSpan([1])], [1, 0, 1]),
        ([TokenSpan([1] * 75), CUT, TokenSpan([1])], [75, 1]),
    ],
)
def test_a_cut_ends_the_chunk(spans: list[TokenSpan], sizes: list[int]) -> None:
    assert [len(chunk) for chunk in split_chunks(spans, comma=COMMA)] == sizes


def test_a_comma_before_a_cut_does_not_matter_behind_it() -> None:
    chunks = split_chunks([TokenSpan([COMMA]), CUT, TokenSpan([1] * 76)], comma=COMMA, backtrack=75)
    assert [len(chunk) for chunk in chunks] == [1, 75, 1]


def test_an_embedding_takes_as_many_places_as_it_has_vectors() -> None:
    (chunk,) = split([7, 8, 9, 7], embeddings=table(style=(3, [8, 9])))
    assert chunk.ids == [7, PLACEHOLDER, PLACEHOLDER, PLACEHOLDER, 7]
    assert len(chunk.weights) == 5
    assert [(place, found.name) for place, found in chunk.inserts] == [(1, "style")]


def test_the_longest_name_wins() -> None:
    embeddings = table(a=(1, [8]), ab=(2, [8, 9]), abc=(4, [8, 9, 10]))
    (chunk,) = split([8, 9, 8, 9, 10, 8], embeddings=embeddings)
    assert [(place, found.name) for place, found in chunk.inserts] == [(0, "ab"), (2, "abc"), (6, "a")]


def test_an_embedding_never_straddles_two_chunks() -> None:
    first, second = split([1] * 70 + [8] + [1], embeddings=table(style=(6, [8])))
    assert len(first) == 70
    assert second.ids == [PLACEHOLDER] * 6 + [1]
    assert [place for place, _ in second.inserts] == [0]


def test_the_comma_rule_moves_an_embedding_whole() -> None:
    first, second = split([1] * 59 + [COMMA] + [8] + [1] * 12, embeddings=table(style=(4, [8])))
    assert (len(first), first.inserts) == (60, [])
    assert second.ids == [PLACEHOLDER] * 4 + [1] * 12
    assert [place for place, _ in second.inserts] == [0]


@given(
    st.lists(st.lists(st.sampled_from([1, 2, 8, COMMA]), max_size=120), max_size=4),
    st.integers(0, 75),
    st.integers(1, 75),
)
def test_nothing_is_lost_and_nothing_is_too_long(spans: list[list[int]], backtrack: int, count: int) -> None:
    chunks = split_chunks(
        [TokenSpan(ids, float(n)) for n, ids in enumerate(spans)],
        comma=COMMA,
        embeddings=table(style=(count, [8])),
        backtrack=backtrack,
    )
    expected: list[int] = []
    for ids in spans:
        for token in ids:
            expected += [PLACEHOLDER] * count if token == 8 else [token]
    assert [token for chunk in chunks for token in chunk.ids] == expected
    for chunk in chunks:
        assert len(chunk) == len(chunk.weights) <= CHUNK_TOKENS
        for place, found in chunk.inserts:
            assert chunk.ids[place : place + found.count] == [PLACEHOLDER] * count
