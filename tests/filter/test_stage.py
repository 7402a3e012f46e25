"""What the stage leaves and counts: each label is followed by the one that an example came with."""

from __future__ import annotations

from dataclasses import replace

from preceptor.filter.base import run_chain
from preceptor.filter.stage import funnel, read_filtered, write_filtered
from preceptor.records import KEEP, Verdict, drop


class ToMaybe:
    """Relabels everything."""

    name = "to_maybe"

    def judge(self, candidates, context):
        return [Verdict(True, example=replace(c, label="maybe", relabelled_from=c.label)) for c in candidates]


class Some:
    """Drops the second of what it sees."""

    name = "some"

    def judge(self, candidates, context):
        return [drop("second") if i == 1 else KEEP for i in range(len(candidates))]


def test_counts_by_label_add_up_when_labels_change_on_the_way(context, child, tmp_path):
    candidates = [child(), child("t2"), child("t3"), child(label="maybe")]  # yes, no, no, maybe
    write_filtered(tmp_path, run_chain([ToMaybe(), Some()], candidates, context))
    filtered = read_filtered(tmp_path, candidates)
    found = funnel("default", "rewrite", {"asked": 5, "unreadable": {"empty": 1}}, filtered, ["to_maybe", "some"])
    assert found.candidates_by_label == {"yes": 1, "no": 2, "maybe": 1}
    assert found.dropped == {"to_maybe": {}, "some": {"second": 1}}
    assert found.dropped_by_label == {"to_maybe": {}, "some": {"second": {"no": 1}}}
    assert found.kept_by_label == {"yes": 1, "no": 1, "maybe": 1}
    assert found.relabelled == {"yes": {"maybe": 1}, "no": {"maybe": 1}, "maybe": {"maybe": 1}}
    assert [e.label for e in filtered.kept] == ["maybe"] * 3
