"""Contract calls and deployments that an operator orders: payments like any other, sent exactly once.

Only a holder of the row MAC key can order one, and the signer signs it only as that key bound it. No coin goes with a
call, and none is made to a token that is an asset here: what it moved would be in no book.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from jobs.assets import native
from jobs.payment import make as payment_make
from jobs.services import Services, chain_row
from ledger import audit, pauses, policy
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound, StateConflict
from ledger.ids import new_id
from ledger.schema import asset, payment

#: States in which nothing more comes of a payment by itself.
ENDED = ("settled", "final", "dead", "review")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be called: `to` None deploys. `data` is `0x` and hexadecimal digits, `note` a word for people."""

    chain: str
    to: str | None
    data: str
    note: str


def order(tx: Tx, services: Services, wanted: Order, actor: str, *, again: bool = False) -> str:
    """The public id of a new payment that calls the contract; audited.

    Raises `StateConflict` while the same call is under way (unless `again`), `AssetPaused`, `InvalidInput`.
    """
    mac = services.require_mac()
    coin = native(tx, wanted.chain)
    pauses.check(tx, coin, "withdrawals")
    _check(tx, wanted, again=again)
    public_id = new_id("pay")
    call = {"chain": wanted.chain, "to": wanted.to, "data": wanted.data, "note": wanted.note}
    rules = policy.of(tx, coin)
    rate = min(chain_row(tx, wanted.chain).fee_rate or rules.payment_rate_fallback, rules.payment_rate_max)
    bound = mac.call(public_id, call)
    plan = payment_make.Plan(wanted.chain, coin, "call", (), rate, rules.payment_rate_max, call=call, mac=bound)
    payment_make.make(tx, plan, public_id)
    digest = hashlib.sha256(wanted.data.encode()).hexdigest()
    told = {"chain": wanted.chain, "to": wanted.to, "note": wanted.note, "data_sha256": digest}
    audit.record(tx, actor, "call.order", public_id, told)
    return public_id


def found(tx: Tx, public_id: str) -> Row[Any]:
    """How an ordered call stands. Raises `NotFound`."""
    row = tx.first(select(payment).where(payment.c.public_id == public_id, payment.c.purpose == "call"))
    if row is None:
        raise NotFound(f"no contract call {public_id}")
    return row


def _check(tx: Tx, wanted: Order, *, again: bool) -> None:
    a, p = asset.c, payment.c
    token = tx.value(select(a.code).where(a.chain == wanted.chain, a.contract == wanted.to))
    if wanted.to is not None and token is not None:
        raise InvalidInput("/address", f"is the contract of {token}: what a call moved there would be in no book")
    live = tx.all(select(payment).where(p.chain == wanted.chain, p.purpose == "call", p.state.not_in(ENDED)))
    same = [row.public_id for row in live if (row.call["to"], row.call["data"]) == (wanted.to, wanted.data)]
    if same and not again:
        raise StateConflict(f"{same[0]} does the same and is under way; say --again to have it done twice")
