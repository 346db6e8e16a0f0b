"""Has the wallet watch addresses well ahead of their use, and hands pending ones over once it does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, func, insert, select, update

from jobs.assets import native
from jobs.saga import SECOND
from jobs.services import Services, chain_row
from jobs.tasks import Ran
from ledger import policy
from ledger.db import Tx
from ledger.errors import NodeUnavailable
from ledger.schema import account, address, chain, index_counter, ready_address
from wallets.protocol import ChainWallet

#: Ready addresses taken over from the wallet in one run.
MADE_MAX = 500
#: Addresses published in one run.
PUBLISHED_MAX = 1_000
#: Addresses marked on the wallet's own books in one run.
TAGGED_MAX = 100


def watch(row: Row[Any], services: Services) -> Ran:
    """Task step for `watch:<chain>`."""
    name = row.name.partition(":")[2]
    wallet, book = services.wallet(name), services.address_book(name)
    wanted, book_key = services.database.read(lambda tx: _wanted(tx, name))
    if book_key is None:
        raise NodeUnavailable("the wallet has not been opened yet")
    watched = wallet.watch(wanted)
    made = [] if book.derives else _made(services, wallet, name, watched)
    tagged = [] if book.derives else _tag(services, wallet, name)

    def publish(tx: Tx, _: Row[Any]) -> None:
        if made:
            tx.execute(insert(ready_address), made)
        ready = watched if book.derives else int(made[-1]["idx"]) + 1 if made else 0
        tx.execute(update(chain).where(chain.c.name == name, chain.c.watched_count < ready).values(watched_count=ready))
        a = address.c
        pending = (a.chain == name) & (a.state == "pending") & (a.idx < chain_row(tx, name).watched_count)
        for home in tx.all(select(a.id, a.idx).where(pending).order_by(a.idx).limit(PUBLISHED_MAX)):
            text = book.at(book_key, home.idx) if book.derives else _ready(tx, name, home.idx)
            values = {"address": text, "state": "ready", "updated_at": tx.now}
            tx.execute(update(address).where(a.id == home.id).values(values | {"version": a.version + 1}))
        if tagged:
            tx.execute(update(address).where(a.id.in_(tagged)).values(tagged=1))

    if watched < wanted:
        return Ran(effect=publish, due_us=SECOND)
    return Ran(effect=publish, due_us=0 if len(made) == MADE_MAX or len(tagged) == TAGGED_MAX else None)


def _tag(services: Services, wallet: ChainWallet, name: str) -> list[int]:
    """Write on the wallet's own books whose an index is, for whoever looks there; ids of the rows that are done.

    Repeated after a crash, it writes the same again.
    """
    a = address.c
    query = select(a.id, a.idx, account.c.kind, account.c.reference).join(account, account.c.id == a.account_id)
    waiting = (a.chain == name) & (a.tagged == 0) & (a.state == "ready")
    rows = services.database.read(lambda tx: tx.all(query.where(waiting).order_by(a.idx).limit(TAGGED_MAX)))
    for home in rows:
        wallet.tag(home.idx, f"{home.kind}_{home.reference}")
    return [home.id for home in rows]


def _made(services: Services, wallet: ChainWallet, name: str, watched: int) -> list[dict[str, Any]]:
    """Addresses that the wallet has made and stored, and our tables do not know yet: some, in index order."""
    highest = select(func.max(ready_address.c.idx)).where(ready_address.c.chain == name)
    last = services.database.read(lambda tx: tx.value(highest))
    start = 0 if last is None else int(last) + 1
    count = min(watched - start, MADE_MAX)
    texts = wallet.addresses(start, count) if count > 0 else ()
    return [{"chain": name, "idx": start + i, "address": text} for i, text in enumerate(texts)]


def _ready(tx: Tx, name: str, index: int) -> str:
    r = ready_address.c
    return str(tx.one(select(r.address).where(r.chain == name, r.idx == index)).address)


def _wanted(tx: Tx, name: str) -> tuple[int, str | None]:
    known = chain_row(tx, name)
    following = tx.value(select(index_counter.c.next_index).where(index_counter.c.chain == name))
    ahead = policy.of(tx, native(tx, name)).address_watch_ahead
    enough = following + ahead // 2 <= known.watched_count
    return (known.watched_count if enough else following + ahead), known.account_public_key
