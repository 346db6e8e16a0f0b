"""How a run ends: no more trouble, everybody finishes, blocks come, hours pass, and people decide what is left."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jobs.resolve import payments as resolve_payments
from jobs.saga import SECOND
from ledger.errors import CofferError
from ledger.types import sqlite_units
from tests.simulation.ground import UNIT
from tests.simulation.machine import Endless
from wallets.protocol import Output

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Jobs after which an end that still moves is called endless, and rounds after which one that does not come is.
JOBS_MAX = 400
ROUNDS_MAX = 14
#: Rounds after which people outside help.
PATIENCE_ROUNDS = 4

_DEBTS = (
    "SELECT o.reference, a.asset, b.units FROM balance b JOIN ledger_account a ON a.id = b.ledger_account_id"
    f" JOIN account o ON o.id = a.account_id WHERE a.kind = 'receivable' AND b.units > '{sqlite_units(0)}'"
)


class Ending:
    """Of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def come(self) -> None:
        """No more trouble: everybody finishes, blocks come, hours pass, and an operator decides what is left."""
        self._world.odds.end()
        for worker in list(self._world.workers):
            while not worker.idle:
                self._world.resume(worker)
        for chain in self._world.chains.values():
            chain.up()
            with chain.state(write=True) as s:
                s.lies.clear()
                s.rate = None
        self._world.shop.repeat()
        self._world.tell("no more trouble")
        self._world.forward(
            self._world.behind_us
        )  # what was due before the clock was set back is due when it has caught up
        final = self._world.rng.random() < 0.15
        for number in range(ROUNDS_MAX):
            if number == PATIENCE_ROUNDS:
                self._bring_back()
            self._round()
            if number and self._ended(final):
                return
        raise Endless(f"still open: {self._open_rows()}")

    def _bring_back(self) -> None:
        """A payment that spent what has vanished since waits for it: whoever paid it sends it again."""
        for name in self._world.used:
            chain = self._world.chains[name]
            with chain.state() as s:
                lost = [tx for txid, tx in s.txs.items() if not s.active(txid) and not tx.coinbase]
            for tx in lost:
                if chain.haunt(tx):
                    self._world.tell(f"{name}: {tx.txid[:8]} is sent again")

    def _round(self) -> None:
        self._world.forward(700 * SECOND)
        if self._world.trades is not None:
            self._world.trades.close()
        self._watchers("scan")
        self._do_all()
        self._decide_all()
        if self._world.waits():
            self._watchers("batch")
            self._do_all()
        self._operate()
        for name in self._world.used:
            self._world.chains[name].mine(110)

    def _watchers(self, work: str) -> None:
        for name in self._world.used:
            self._world.task(self._world.workers[0], f"{work}:{name}")

    def _do_all(self) -> None:
        """All that is due or woken, until nothing is."""
        for _ in range(JOBS_MAX):
            due = self._world.due()
            if not due:
                self._world.mail.clear()
                return
            for kind, row_id in due:
                self._world.advance(self._world.workers[0], kind, row_id)
        raise Endless(f"always due: {self._world.due()}")

    def _decide_all(self) -> None:
        for row_id, _ in self._world.rows("SELECT id, state FROM withdrawal WHERE state = 'pending_approval'"):
            for person in ("dan", "eve"):
                self._world.shop.decide(row_id, "approve", person)

    def _operate(self) -> None:
        """What runbooks tell people to do: decide what is in review by the chain's proof, refill a hot wallet."""
        for (public_id,) in self._world.rows("SELECT public_id FROM payment WHERE state = 'review'"):
            self._resolve(public_id)
        short = self._world.rows("SELECT DISTINCT asset FROM withdrawal WHERE status_reason = 'insufficient_hot_funds'")
        for (code,) in short:
            self._world.pay_house(code)
        for name, code, text in self._world.rows(_DEBTS):
            self._repay(name, code, int(text) - 10**39)

    def _repay(self, name: str, code: str, units: int) -> None:
        """Who owes the house after a reorganisation pays, and is free again."""
        chain = self._world.chains["bitcoin" if code == "BTC" else "monero"]
        chain.pay(Output(self._world.ground.addresses[name, code], units + UNIT[code]))
        self._world.tell(f"{name} pays a debt of {units} {code}")

    def _resolve(self, public_id: str) -> None:
        def read(tx: Any) -> Any:
            return resolve_payments.needs_proof(tx, public_id)

        choice = self._world.rng.choice(("retry", "refund"))
        with suppress(CofferError):
            row, asked = self._world.database.read(read)
            proof = resolve_payments.prove(self._world.workers[0].services, row, asked)
            self._world.database.run(
                lambda tx: resolve_payments.resolve_payment(tx, public_id, choice, proof, "operator"), "resolve"
            )
            self._world.count("reviews decided")
            self._world.tell(f"operator: {choice} {public_id}")
            return
        with suppress(CofferError):
            self._world.database.run(lambda tx: resolve_payments.recheck_payment(tx, public_id, "operator"), "recheck")
            self._world.tell(f"operator: recheck {public_id}")

    def _open_rows(self, final: bool = True) -> list[Any]:
        """Rows that are not where they stay; without `final`, what no more than time is missing to counts as ended."""
        deep = "" if final else ", 'settled', 'credited'"
        return self._world.rows(
            "SELECT 'withdrawal', id, state, status_reason FROM withdrawal"
            " WHERE state NOT IN ('completed', 'failed', 'rejected', 'cancelled')"
            " UNION ALL SELECT 'escrow', id, state, status_reason FROM escrow"
            " WHERE state IN ('awaiting_funds', 'funded', 'disputed')"
            " UNION ALL SELECT 'swap', id, state, status_reason FROM swap"
            " WHERE state NOT IN ('completed', 'refunded', 'expired', 'failed')"
            " UNION ALL SELECT 'payment', id, state, status_reason FROM payment"
            f" WHERE state NOT IN ('final', 'dead'{deep})"
            " UNION ALL SELECT 'deposit', id, state, status_reason FROM deposit"
            f" WHERE state NOT IN ('final', 'reversed', 'ignored', 'held'{deep})"
        )

    def _ended(self, final: bool) -> bool:
        return not self._open_rows(final) and not self._world.waits()
