"""Mentions found in a text, and F1 of spans against scikit-learn and a brute-force count."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from preceptor.evaluate.aggregate import KINDS, estimate
from preceptor.evaluate.spans import Located, Span, locate, span_measures

TEXT = "Lung cancer and  small-cell\nlung  cancer differ; cancer of the lung (NSCLC) and non-cancer growths, cancers."


def found(mentions: list[str], text: str = TEXT) -> list[str]:
    return [text[start:end] for start, end in locate(mentions, text).spans]


def test_a_mention_stands_for_all_its_places_in_any_case_and_spacing() -> None:
    assert found(["LUNG cancer"]) == ["Lung cancer", "lung  cancer"]
    assert found(["small-cell lung\tcancer "]) == ["small-cell\nlung  cancer"]
    assert found(["(NSCLC)", "nsclc"]) == ["(NSCLC)"]


def test_only_whole_words_are_found() -> None:
    assert found(["cancer"], "cancers, precancer, cancer_2 and (cancer).") == ["cancer"]
    assert locate(["ung", "lun"], TEXT) == Located((), ("ung", "lun"))


def test_what_is_special_in_a_pattern_is_a_letter_like_any_other() -> None:
    assert found(["IL-2 (a.b)*"], "Not IL-2 (axb), but IL-2 (a.b)* here.") == ["IL-2 (a.b)*"]


def test_the_longest_mention_claims_its_places_first() -> None:
    for mentions in (["cancer", "small-cell lung cancer"], ["small-cell lung cancer", "cancer"]):
        # Of "cancer" the place inside the longer mention is left out, the others stay.
        assert found(mentions) == ["cancer", "small-cell\nlung  cancer", "cancer", "cancer"]
    assert found(["lung cancer", "small-cell lung cancer"]) == ["Lung cancer", "small-cell\nlung  cancer"]


def test_mentions_that_only_touch_or_cross_are_both_predicted() -> None:
    assert found(["breast cancer", "cancer pain"], "breast cancer pain") == ["breast cancer", "cancer pain"]


def test_what_is_found_only_inside_another_mention_is_no_span_and_not_hallucinated() -> None:
    located = locate(["breast cancer", "breast"], "Of breast cancer.")
    assert located == Located(((3, 16),), ())


def test_a_mention_that_the_text_does_not_hold_is_hallucinated_once() -> None:
    located = locate(["gout", "Gout", " gout", "lung cancer", "", "  "], TEXT)
    assert located.hallucinated == ("gout",)
    assert len(located.spans) == 2
    assert locate([], TEXT) == locate(["gout"], "")._replace(hallucinated=()) == Located((), ())


def test_counts_of_one_item() -> None:
    # Gold 0-10, 20-30, 40-50; predicted exactly the first, part of the second, one apart, one hallucinated.
    located = Located(((0, 10), (22, 28), (60, 70)), ("gout",))
    strict, relaxed = span_measures([located], [((0, 10), (20, 30), (40, 50))])
    assert (strict.name, strict.kind, strict.rows) == ("strict_f1", "f1", ((2.0, 7.0),))
    assert (relaxed.name, relaxed.kind, relaxed.rows) == ("relaxed_f1", "relaxed_f1", ((2.0, 4.0, 2.0, 3.0),))
    value = estimate([relaxed], 100, 0)
    assert value is not None
    assert value.value == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))


def test_one_long_span_matches_all_that_it_overlaps_and_ends_do_not_overlap_starts() -> None:
    relaxed = span_measures([Located(((0, 30), (30, 40)), ())], [((0, 10), (20, 30), (40, 50))])[1]
    assert relaxed.rows == ((1.0, 2.0, 2.0, 3.0),)


def invented(rng: np.random.Generator, size: int) -> list[Span]:
    """Spans of a text of 30 characters that do not overlap each other."""
    cuts = sorted(rng.choice(31, 2 * size, replace=False).tolist())
    return [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]


def test_both_f1_are_those_of_a_count_character_by_character() -> None:
    """Strict F1 by scikit-learn over all possible spans, relaxed F1 by sets of characters."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        gold = [invented(rng, int(rng.integers(0, 5))) for _ in range(10)]
        said = [invented(rng, int(rng.integers(0, 5))) for _ in range(10)]
        for item in range(0, 10, 2):  # some exact hits
            said[item] = gold[item][:2] + [s for s in said[item] if all(s[0] >= g[1] for g in gold[item][:2])]
        unknown = [int(rng.integers(0, 2)) for _ in range(10)]
        located = [
            Located(tuple(s), tuple(f"m{i}" for i in range(count))) for s, count in zip(said, unknown, strict=True)
        ]
        strict, relaxed = span_measures(located, gold)

        every = [(item, a, b) for item in range(10) for a in range(31) for b in range(a + 1, 32)]
        true = [int((a, b) in gold[item]) for item, a, b in every] + [0] * sum(unknown)
        named = [int((a, b) in said[item]) for item, a, b in every] + [1] * sum(unknown)
        assert KINDS["f1"](np.sum(strict.rows, axis=0)) == pytest.approx(f1_score(true, named, zero_division=0))

        def touches(span: Span, others: list[Span]) -> bool:
            return bool(set(range(*span)) & {place for other in others for place in range(*other)})

        hits = sum(touches(span, gold[item]) for item in range(10) for span in said[item])
        recalled = sum(touches(span, said[item]) for item in range(10) for span in gold[item])
        precision = hits / (sum(map(len, said)) + sum(unknown))
        recall = recalled / sum(map(len, gold))
        expected = 2 * precision * recall / (precision + recall)
        assert KINDS["relaxed_f1"](np.sum(relaxed.rows, axis=0)) == pytest.approx(expected)


def test_nothing_to_find_and_nothing_said_adds_nothing() -> None:
    nothing, hit = Located((), ()), Located(((0, 4),), ())
    for measure in span_measures([nothing, hit, nothing], [(), ((0, 4),), ()]):
        assert set(measure.rows[0]) == set(measure.rows[2]) == {0.0}
        found = estimate([measure], 100, 0)
        assert found is not None
        assert found.value == 1.0
    for measure in span_measures([nothing, nothing], [(), ()]):
        assert estimate([measure], 100, 0) is None


def test_saying_nothing_where_there_is_something_scores_0() -> None:
    for measure in span_measures([Located((), ())] * 2, [((0, 4),), ((2, 3), (5, 9))]):
        found = estimate([measure], 100, 0)
        assert found is not None
        assert found.value == 0.0
