"""`coffer inventory`, on a database with capital and some swaps."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

from jobs.swap import balance as swap_balance
from jobs.swap import quotes
from jobs.swap.books import Wish
from jobs.swap.quotes import Ask
from ledger import accounts, postings
from ledger.db import Tx
from ledger.money import BTC, XMR
from ledger.postings import Leg
from tests.flows.trade_engine import PRICES, _write_rates
from tests.ops.installation import Installation

Install = Callable[..., Installation]


def give(tx: Tx, owner: accounts.Owner, code: str, units: int) -> None:
    leg = Leg(accounts.house("treasury_hot"), owner, units)
    postings.post(tx, f"test:{secrets.token_hex(8)}", "deposit", code, [leg], ("test", 0))


def test_inventory_is_filled_shown_used_reported_and_emptied(install: Install) -> None:
    here = install()
    run = here.database.run
    for code, units in (("BTC", 2 * 10**8), ("XMR", 500 * 10**12)):
        run(lambda tx, c=code, n=units: give(tx, accounts.house("capital"), c, n), "test")
    assert "capital is 2.00000000 BTC" in here.refused("inventory", "fund", "BTC", "2.1")
    assert "never rounded" in here.refused("inventory", "fund", "BTC", "1.000000001")
    assert "DOGE" in here.refused("inventory", "fund", "DOGE", "1")
    here.said("inventory", "fund", "BTC", "1.5", "--as", "ann")
    here.said("inventory", "fund", "XMR", "500")
    here.said("inventory", "withdraw", "BTC", "0.5")
    assert "free are 1.00000000 BTC" in here.refused("inventory", "withdraw", "BTC", "1.00000001")
    here.engine.set_policy("XMR", inventory_low_units=501 * 10**12)
    shown = {row["asset"]: row for row in json.loads(here.said("inventory", "show", "--json"))}
    assert (shown["BTC"]["free"], shown["BTC"]["capital"], shown["BTC"]["note"]) == ("1.00000000", "1.00000000", None)
    assert shown["XMR"]["note"] == "low"
    assert "500.000000000000" in here.said("inventory", "show")
    assert "operator:ann" in here.said("audit", "list")

    owner = here.engine.account()
    run(lambda tx: give(tx, (owner, "available"), "BTC", 10**8), "test")
    run(lambda tx: _write_rates(tx, PRICES, 0, None), "test")
    wish, services = Ask(BTC, XMR, "sell", 10**7), here.engine.services
    made = run(lambda tx: quotes.ask(tx, here.engine.caller, wish, services), "test")
    run(lambda tx: swap_balance.make(tx, here.engine.caller, made["id"], Wish(owner, "r"), services), "test")
    told = json.loads(here.said("inventory", "report", "--json"))
    # 0.1 BTC of 60,000: the spread is half a percent of 6,000 and the fee a quarter of the rest, in dollars
    assert {name: told[name] for name in ("swaps", "volume", "spread", "service_fees", "rounding", "profit")} == {
        "swaps": 1,
        "volume": "6000.00",
        "spread": "30.00",
        "service_fees": "14.92",
        "rounding": "0.00",
        "profit": "44.92",
    }
    assert {row["asset"]: row["position"] for row in told["assets"]}["BTC"] == "1.10000000"
    assert "44.92" in here.said("inventory", "report")
    assert json.loads(here.said("inventory", "report", "--since", "2999-01-01", "--json"))["swaps"] == 0
