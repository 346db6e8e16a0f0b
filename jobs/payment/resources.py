"""Resources: the exclusive things behind payments, and the coins behind resources, as the database knows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, insert, or_, select

from ledger.db import Tx
from ledger.schema import candidate, deposit, outgoing, payment, resource


def live(tx: Tx, chain: str) -> set[str]:
    """The resources of a chain that payments own now."""
    r = resource.c
    return {row.resource_key for row in tx.all(select(r.resource_key).where(r.chain == chain, r.live == 1))}


def unspendable(tx: Tx, chain: str) -> set[str]:
    """Coins that are on their way to us but credited to nobody yet: not the house's to spend."""
    d = deposit.c
    pending = (d.chain == chain) & (d.credited == 0) & d.seen.in_(("pool", "confirmed"))
    return {row.output_key for row in tx.all(select(d.output_key).where(pending))}


def unknown(tx: Tx, chain: str, keys: Sequence[str]) -> list[str]:
    """Those of the resources that no payment here ever owned."""
    r = resource.c
    known = {
        row.resource_key for row in tx.all(select(r.resource_key).where(r.chain == chain, r.resource_key.in_(keys)))
    }
    return [key for key in keys if key not in known]


def claim(tx: Tx, row: Row[Any], keys: Sequence[str]) -> None:
    """Make these the payment's own. A second owner fails at the unique key."""
    claims = [
        {"chain": row.chain, "resource_key": key, "payment_id": row.id, "live": 1, "created_at": tx.now} for key in keys
    ]
    if claims:
        tx.execute(insert(resource), claims)


def strangers(tx: Tx, chain: str, keys: Sequence[str]) -> set[str]:
    """Which of these coins are neither a credited deposit nor change that is sure to stay: of several candidates of one
    payment any may confirm, and whoever spends the change of another is lost. What an operator has accepted as made
    with these keys left change of ours too."""
    d, c, p, o = deposit.c, candidate.c, payment.c, outgoing.c
    booked = tx.all(select(d.output_key).where(d.chain == chain, d.output_key.in_(keys), d.credited == 1))
    txids = {key.partition(":")[0] for key in keys}
    sure = (p.candidates == 1) | (p.height.is_not(None) & (p.txid == c.txid))
    change = select(c.txid).join(payment, p.id == c.payment_id).where(c.chain == chain, c.txid.in_(txids), sure)
    own = {row.txid for row in tx.all(change)}
    accepted = select(o.name).where(o.chain == chain, o.state == "accepted", o.name.in_(txids))
    own |= {row.name for row in tx.all(accepted)}
    known = {row.output_key for row in booked}
    return {key for key in keys if key not in known and key.partition(":")[0] not in own}


def spent_by_another(tx: Tx, row: Row[Any], known: Sequence[Row[Any]]) -> str | None:
    """An output of this payment that another live payment is to spend: replacing this one would kill that one."""
    r = resource.c
    outputs = or_(*(r.resource_key.startswith(f"{found.txid}:") for found in known))
    key = tx.value(select(r.resource_key).where(r.chain == row.chain, r.live == 1, outputs, r.payment_id != row.id))
    return None if key is None else str(key)
