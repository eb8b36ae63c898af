"""Batched beam search against one picture at a time, a slow plain reference, and all captions there
are."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.baselines.attention_decoder import AttentionDecoder, AttentionDecoderConfig, decoding
from harness.baselines.beam_search import Hypothesis, State, Step, beam_search

END = 0


def markov(pictures: int, vocabulary: int, seed: int, sharp: float = 1.5) -> tuple[Step, Tensor]:
    """A model whose words depend on the picture, the last word and how many there were: its step,
    and log probabilities (pictures, lengths, last word + 1, words)."""
    table = torch.randn(
        pictures, 12, vocabulary + 1, vocabulary, generator=torch.Generator().manual_seed(seed)
    )
    table = (sharp * table).log_softmax(dim=-1)

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        picture, length = state
        return table[picture, length, tokens + 1], (picture, length + 1)

    return step, table


def start(pictures: int) -> State:
    return torch.arange(pictures), torch.zeros(pictures, dtype=torch.long)


def slow_beam_search(table: Tensor, beam: int, most: int, by_length: bool) -> list[Hypothesis]:
    """One picture, one hypothesis at a time, as the official codes describe it: table (lengths,
    last word + 1, words)."""
    live: list[tuple[list[int], float]] = [([], 0.0)]
    done: list[Hypothesis] = []
    for length in range(most):
        candidates = []
        for tokens, total in live:
            last = tokens[-1] if tokens else -1
            for word, log_p in enumerate(table[length, last + 1].tolist()):
                candidates.append(([*tokens, word], total + log_p))
        candidates.sort(key=lambda candidate: -candidate[1])
        live = []
        for tokens, total in candidates[: beam - len(done)]:
            if tokens[-1] == END:
                score = total / len(tokens) if by_length else total
                done.append(Hypothesis(tokens[:-1], total, score, True))
            else:
                live.append((tokens, total))
        if not live or len(done) >= beam:
            break
    for tokens, total in live:
        done.append(Hypothesis(tokens, total, total / len(tokens) if by_length else total, False))
    return sorted(done, key=lambda hypothesis: -hypothesis.score)


def assert_equal(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [h.tokens for h in found] == [h.tokens for h in expected]
    assert [h.finished for h in found] == [h.finished for h in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    pictures=st.integers(1, 5),
    vocabulary=st.integers(2, 6),
    beam=st.integers(1, 7),
    most=st.integers(1, 8),
    by_length=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_it_finds_what_the_slow_reference_finds(
    pictures: int, vocabulary: int, beam: int, most: int, by_length: bool, seed: int
) -> None:
    """Also for beams wider than the vocabulary."""
    step, table = markov(pictures, vocabulary, seed)
    found = beam_search(step, start(pictures), beam=beam, most_words=most, by_length=by_length)
    for picture, hypotheses in enumerate(found):
        assert_equal(hypotheses, slow_beam_search(table[picture], beam, most, by_length))


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_wide_enough_finds_the_best_of_all_captions(seed: int) -> None:
    vocabulary, most = 3, 4
    step, table = markov(1, vocabulary, seed)
    best = -math.inf
    for length in range(1, most + 1):
        for words in itertools.product(range(vocabulary), repeat=length):
            if END in words[:-1] or (length < most and words[-1] != END):
                continue
            before = [-1, *words[:-1]]
            total = sum(table[0, t, before[t] + 1, words[t]].item() for t in range(length))
            best = max(best, total)
    found = beam_search(step, start(1), beam=vocabulary**most, most_words=most)[0]
    assert found[0].log_probability == pytest.approx(best, abs=1e-5)


def test_beam_1_is_greedy() -> None:
    step, table = markov(6, 5, seed=1)
    for picture, (found,) in enumerate(beam_search(step, start(6), beam=1, most_words=10)):
        tokens: list[int] = []
        for length in range(10):
            last = tokens[-1] if tokens else -1
            tokens.append(int(table[picture, length, last + 1].argmax()))
            if tokens[-1] == END:
                break
        finished = tokens[-1] == END
        assert found.tokens == (tokens[:-1] if finished else tokens)
        assert found.finished == finished


def test_a_finished_hypothesis_makes_the_beam_narrower() -> None:
    """Beam 2: <eos> comes second at once, so a single hypothesis goes on, and the better branch
    off the second best beginning is never seen."""
    never = -50.0
    table = torch.full((4, 4, 3), never)
    table[0, 0] = torch.tensor([math.log(0.4), math.log(0.5), math.log(0.1)])
    table[1, 2] = torch.tensor([math.log(0.3), math.log(0.4), math.log(0.3)])
    table[2:, :, 0] = 0.0

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        (length,) = state
        return table[length, tokens + 1], (length + 1,)

    first, second = beam_search(step, (torch.zeros(1, dtype=torch.long),), beam=2, most_words=4)[0]
    assert first.tokens == []
    assert first.log_probability == pytest.approx(math.log(0.4))
    assert second.tokens == [1, 1]
    assert second.log_probability == pytest.approx(math.log(0.5 * 0.4))


def test_length_normalisation_prefers_the_longer_of_two() -> None:
    """<eos> at once has log p -1 over one token; two words and <eos> have -1.2 over three."""
    table = torch.full((3, 3, 2), -50.0)
    table[0, 0] = torch.tensor([-1.0, -0.4])
    table[1, 2, 1], table[2, 2, 0] = -0.4, -0.4

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        return table[state[0], tokens + 1], (state[0] + 1,)

    plain = beam_search(step, (torch.zeros(1, dtype=torch.long),), beam=2, most_words=3)
    per_token = beam_search(
        step, (torch.zeros(1, dtype=torch.long),), beam=2, most_words=3, by_length=True
    )
    assert plain[0][0].tokens == []
    assert per_token[0][0].tokens == [1, 1]
    assert per_token[0][0].score == pytest.approx(-0.4)
    assert per_token[0][0].log_probability == pytest.approx(-1.2)


def test_captions_without_an_end_stop_at_the_most_words() -> None:
    step, _ = markov(2, 4, seed=0)

    def endless(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probabilities, state = step(tokens, state)
        return log_probabilities.index_fill(1, torch.tensor([END]), -torch.inf), state

    for hypotheses in beam_search(endless, start(2), beam=3, most_words=5):
        assert [len(h.tokens) for h in hypotheses] == [5, 5, 5]
        assert not any(h.finished for h in hypotheses)


def test_rows_of_finished_pictures_are_left_out() -> None:
    """The second picture ends at once; its rows are gone from the next step."""
    step, _ = markov(2, 4, seed=0)
    seen = []

    def watched(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probabilities, after = step(tokens, state)
        seen.append(state[0].tolist())
        ends = torch.where(state[0] == 1, 40.0, -40.0)
        return log_probabilities.index_add(1, torch.tensor([END]), ends[:, None]), after

    beam_search(watched, start(2), beam=1, most_words=3)
    assert seen == [[0, 1], [0], [0]]


def test_no_pictures_and_no_beam() -> None:
    step, _ = markov(1, 4, seed=0)
    assert beam_search(step, start(0), beam=2, most_words=3) == []
    with pytest.raises(ValueError, match="at least 1"):
        beam_search(step, start(1), beam=0, most_words=3)


# ---------------------------------------------------------------- with the decoder


@pytest.fixture(scope="module")
def decoder() -> AttentionDecoder:
    torch.manual_seed(5)
    config = AttentionDecoderConfig(n_words=11, dim_word=6, ctx_dim=5, dim=7)
    model = AttentionDecoder(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.2)
    model.output_word.bias.data[END] += 4
    return model


@pytest.mark.parametrize("beam", [1, 3, 5])
def test_a_batch_gives_what_one_picture_at_a_time_gives(
    decoder: AttentionDecoder, beam: int
) -> None:
    context = torch.randn(9, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(9, 4, dtype=torch.bool)
    mask[::2, 3] = False
    with torch.inference_mode():
        together = beam_search(*decoding(decoder, context, mask), beam=beam, most_words=12)
        for i in range(9):
            one = decoding(decoder, context[i, None], mask[i, None])
            assert_equal(beam_search(*one, beam=beam, most_words=12)[0], together[i])
    assert len({len(h.tokens) for hypotheses in together for h in hypotheses}) > 1


def test_log_probabilities_are_those_of_reading_the_caption(decoder: AttentionDecoder) -> None:
    context = torch.randn(4, 4, 5, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for i, hypotheses in enumerate(
            beam_search(*decoding(decoder, context), beam=3, most_words=9)
        ):
            for found in hypotheses:
                words = torch.tensor([[*found.tokens, *([END] if found.finished else [])]])
                logits = decoder(context[i, None], words, torch.ones(words.shape)).logits
                log_p = logits.log_softmax(dim=-1).gather(-1, words[..., None]).sum()
                assert found.log_probability == pytest.approx(log_p.item(), abs=1e-4)
