"""A budget holds through batches: room is taken before handing in and kept until the answers are stored."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from batch_runs import KEY_ENV, make, requests
from batch_server import BatchServer

from preceptor.config import BudgetSettings
from preceptor.errors import BatchPending, BudgetError
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import ask
from preceptor.teachers.prices import Price

KEY = "sk-batch-budget-4711"
PRICE = Price(Decimal(1), Decimal(2), discount=Decimal("0.5"))


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_only_what_the_budget_has_room_for_is_handed_in(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    limits = BudgetSettings(max_tokens=1000)
    with BatchServer(key=KEY) as server, Ledger(tmp_path / "ledger") as ledger:
        asked = requests(20)
        ends: list[type[Exception]] = []
        for _ in range(40):
            teacher = make(kind, server.base_url, tmp_path)  # as in a process of its own
            try:
                ask(teacher, asked, ledger, price=PRICE, limits=limits)
            except (BatchPending, BudgetError) as end:
                ends.append(type(end))
            assert ledger.spent().tokens + ledger.outstanding().tokens <= 1000
        assert ends[0] is BatchPending
        assert ends[-1] is BudgetError
        assert 0 < ledger.count() < 20
        assert ledger.outstanding().tokens == 0  # all that was reserved is settled at what was counted
        more = BudgetSettings(max_tokens=10**6)
        for _ in range(4):
            try:
                done = ask(make(kind, server.base_url, tmp_path), asked, ledger, price=PRICE, limits=more)
            except BatchPending:
                continue
        assert all(answer.completion is not None for answer in done.answers)
        paid = [sum(ledger._db.execute(f"SELECT {column} FROM calls").fetchall(), ())
                for column in ("input_tokens", "output_tokens", "picodollars")]  # fmt: skip
        assert sum(paid[2]) == (sum(paid[0]) + 2 * sum(paid[1])) * 10**6 // 2
