"""ROUGE-L as `rouge_score` computes it, the pool of kept texts, and the filter."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

from preceptor.config import FilterSettings, NoveltySettings
from preceptor.errors import DataError
from preceptor.filter import rouge
from preceptor.filter.chain import make_chain
from preceptor.filter.novelty import Novelty, NoveltyFilter
from preceptor.filter.rouge import Alphabet, rouge_l, rouge_words

ODD = [
    "",
    " \n\t",
    "?!... – «»",
    "喝茶好吗",
    "word",
    "WORD!",
    "word word word word",
    "word other word other word",
    "a a a b b b a a a b b b",
    "b b b a a a b b b a a a",
    "café naïve İstanbul K ſtraße ﬁsh e\u0301",
    "cafe naive istanbul k strasse fish e",
    "x_y-z 1,200.5 1200 5",
    "x y z 1 200 5 1200",
    "connection connected connecting connects tie ties",
    "connect connective connections tied ties flies",
    "one\u00a0two\u2003three\x00four\u200bfive",
    "one two three four five " * 30,
    "five four three two one " * 30,
    "\ud800 lone surrogates \udfff",
]


def expected(texts, others, stemmer=False):
    scorer = RougeScorer(["rougeL"], use_stemmer=stemmer)
    return np.array([[scorer.score(other, text)["rougeL"].fmeasure for other in others] for text in texts])


@pytest.fixture(scope="module")
def real(data_root) -> list[str]:
    with (data_root / "self-instruct" / "seed_tasks.jsonl").open() as lines:
        seeds = [json.loads(line)["instruction"] for line in lines]
    items = json.loads((data_root / "pubmedqa" / "ori_pqal.json").read_text())
    return seeds + [item["QUESTION"] for item in items.values()][:120]


def reworded(texts, count, seed=0):
    """Candidates as a weak teacher writes them: the same texts with some words replaced, left out or swapped."""
    rng = random.Random(seed)
    words = [word for text in texts for word in text.split()]
    made = []
    for _ in range(count):
        rate = rng.choice([0.1, 0.2, 0.3, 0.5, 0.8])
        new = [rng.choice(words) if rng.random() < rate else word for word in rng.choice(texts).split()]
        made.append(" ".join(new[rng.randrange(3) :]))
    return made


@pytest.mark.parametrize("stemmer", [False, True])
def test_equals_rouge_score_on_odd_text(stemmer):
    stem = PorterStemmer().stem if stemmer else None
    assert (rouge_l(ODD, ODD, stem) == expected(ODD, ODD, stemmer)).all()


@pytest.mark.parametrize("stemmer", [False, True])
def test_equals_rouge_score_to_the_last_bit_on_real_text(real, stemmer):
    texts = real[::3] if stemmer else real
    stem = PorterStemmer().stem if stemmer else None
    truth = expected(texts[:60], texts, stemmer)
    assert (rouge_l(texts[:60], texts, stem, workers=2) == truth).all()
    pool = Novelty(stem=stem)
    pool.extend(texts)
    nearest = [pool.nearest(text) for text in texts[:60]]
    assert [near.f for near in nearest] == truth.max(axis=1).tolist()


def test_decisions_are_those_of_a_loop_with_rouge_score(real):
    """One after another; a candidate goes when its F to a seed or to a kept candidate is above 0.7."""
    seeds, candidates = real[:60], [*reworded(real[:60], 150), *ODD]
    scorer, kept, truth = RougeScorer(["rougeL"]), list(seeds), []
    pool, decided = Novelty(0.7), []
    pool.extend(seeds)
    for text in candidates:
        scores = [scorer.score(other, text)["rougeL"].fmeasure for other in kept]
        truth.append((max(scores), scores.index(max(scores))))
        near, close = pool.nearest(text), pool.too_close(text)
        decided.append((near.f, near.index))
        assert (close is None) == (truth[-1][0] <= 0.7)
        assert close is None or close == near
        assert near.text == kept[near.index]
        if close is None:
            assert pool.add(text) == len(kept)
            kept.append(text)
    assert decided == truth
    assert 0.2 < sum(f > 0.7 for f, _ in truth) / len(truth) < 0.8
    assert len(pool) == len(kept)


def test_the_bound_itself_stays():
    ten = "a b c d e f g h i j"
    pool = Novelty(0.7)
    pool.add(ten)
    (f,) = expected([ten], ["a b c d e f g x y z"])[0]
    assert f == 0.7
    assert pool.too_close("a b c d e f g x y z") is None
    assert pool.too_close("a b c d e f g h y z").f == expected([ten], ["a b c d e f g h y z"])[0, 0]


def test_the_first_of_several_equally_near_is_named():
    pool = Novelty()
    pool.extend(["x y", *["one two three four"] * 100, "one two three five"])
    assert (pool.nearest("one two three nine").index, pool.nearest("one two three nine").f) == (1, 0.75)
    assert (pool.nearest("nothing").index, pool.nearest("nothing").f) == (0, 0.0)
    assert Novelty().nearest("one") is None


def test_many_promising_texts_are_all_compared():
    """Same words in another order promise much and hold little; the true neighbour comes last."""
    rng = random.Random(4)
    words = [f"w{n}" for n in range(12)]
    texts = [" ".join(rng.sample(words, 12)) for _ in range(400)]
    pool = Novelty(0.3)
    pool.extend(texts)
    asked = [" ".join(rng.sample(words, 11)) for _ in range(40)]
    truth = expected(asked, texts)
    assert [(n.f, n.index) for n in map(pool.nearest, asked)] == [(row.max(), row.argmax()) for row in truth]


def test_words_beyond_the_alphabet_are_refused(monkeypatch):
    monkeypatch.setattr(rouge.sys, "maxunicode", 3)
    alphabet = Alphabet()
    assert len(set(alphabet.spell(["a", "b", "c", "a"]))) == 3
    with pytest.raises(DataError, match="more than 3 different words"):
        alphabet.spell(["d"])


def test_words():
    assert rouge_words("Don't – stop_it, 3.5ml!") == ["don", "t", "stop", "it", "3", "5ml"]
    assert rouge_words("tied ties", PorterStemmer().stem) == ["tie", "tie"]


def judge(context, *candidates, **settings):
    return NoveltyFilter(NoveltySettings(**settings)).judge(candidates, context)


ASKED = "Do nine tame rabbits eat more grass after heavy rain?"
AGAIN = "Do nine tame rabbits eat much more grass after rain?"
OTHER = "Does heavy rain make nine tame rabbits hungry for more grass?"


def test_the_first_stays_and_the_second_names_it(context, child):
    first, again, other = child(question=ASKED), child(question=AGAIN), child(question=OTHER)
    verdicts = judge(context, first, again, other)
    assert [v.reason for v in verdicts] == ["", "rouge_l", ""]
    assert verdicts[1].detail == f"ROUGE-L F {expected([ASKED], [AGAIN])[0, 0]:.4f} to candidate {first.id}"


def test_what_was_dropped_drops_nobody(context, child):
    a, b, c = "one two three four five six", "one two three four five x y", "two three four five x y z"
    assert expected([a, b], [b, c]).round(2).tolist() == [[0.77, 0.62], [1.0, 0.86]]
    made = [child(question=q) for q in (a, b, c)]
    assert [v.reason for v in judge(context, *made)] == ["", "rouge_l", ""]
    assert [v.reason for v in judge(context, *made[1:])] == ["", "rouge_l"]


def test_training_items_count_unless_the_recipe_says_no(context, child):
    again = child(question=context.parents["t2"].fields["question"].replace("green", "blue"))
    (verdict,) = judge(context, again)
    assert (verdict.reason, verdict.detail.split(" to ")[1]) == ("rouge_l", "training item t2")
    assert judge(context, again, real=False)[0].kept
    assert judge(context, again, max_f=0.95)[0].kept


def test_the_recipe_chooses_the_fields(context, child):
    same_context = [child("t1", question=ASKED), child("t1", question=OTHER)]
    assert [v.reason for v in judge(context, *same_context, real=False)] == ["", ""]
    both = judge(context, *same_context, real=False, fields=("question", "context"))
    assert [v.reason for v in both] == ["", "rouge_l"]


def test_only_a_recipe_brings_it_into_the_chain(context, child):
    settings = FilterSettings.model_validate({"chain": ["novelty"], "novelty": {"max_f": 0.2, "real": False}})
    (step,) = make_chain(settings)
    assert step.name == "novelty"
    verdicts = step.judge([child(question=ASKED), child(question=OTHER)], context)
    assert [v.reason for v in verdicts] == ["", "rouge_l"]
    assert "novelty" not in [step.name for step in make_chain(FilterSettings())]


def test_a_withdrawn_text_is_near_to_nothing_and_the_others_keep_their_numbers():
    pool = Novelty(0.7)
    pool.extend(["a red boat and a red sail", "the old mill stands still", "a red boat and a red car"])
    pool.withdraw(0)
    assert len(pool) == 2
    assert pool.too_close("a red boat and a red sail").index == 2
    pool.withdraw(2)
    assert pool.too_close("a red boat and a red sail") is None
    assert pool.nearest("a red boat and a red sail").f == 0
    assert pool.add("a red boat and a red sail") == 3
    assert pool.nearest("the old mill").index == 1
