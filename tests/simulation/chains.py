"""Model chains that lie, forget, lose their way and bring back what was long replaced, where a seed says."""

from __future__ import annotations

import json

from ledger.errors import TransactionRefused
from tests.simulation.machine import Machine
from wallets.fake import FakeChain, FakeWallet, Lie
from wallets.fake.model import State, Tx
from wallets.protocol import Output, SignedTransaction

#: How the reply to a node call can be wrong. Only a send has more than two ways.
_LIES = (Lie.LOST_UNDONE, Lie.LOST_DONE)
_SEND_LIES = (*_LIES, Lie.REFUSED_DONE, Lie.ACCEPTED_UNDONE)


class SimChain(FakeChain):
    """A model chain whose every node call is a place, and whose node may be wrong."""

    def __init__(self, machine: Machine, name: str, state: State, prefix: str) -> None:
        super().__init__(prefix=prefix)
        self._state = state
        self._machine = machine
        self.name = name
        self.sent: dict[str, Tx] = {}  #: all that was ever given to the node to be sent, whatever it answered
        self.late: list[Tx] = []  #: on its way: it will come in although the node said otherwise

    def begin(self, method: str) -> Lie | None:
        machine = self._machine
        if machine.running is not None:
            machine.place(f"{self.name}.{method}")
            if machine.odds.lie and machine.rng.random() < machine.odds.lie:
                self._lie(method)
        return super().begin(method)

    def _lie(self, method: str) -> None:
        lie = self._machine.rng.choice(_SEND_LIES if method == "broadcast" else _LIES)
        self._machine.count("lies")
        self._machine.tell(f"{self.name}: {method} is answered by {lie}")
        self.lie(method, lie)

    def heard(self, tx: Tx) -> None:
        """Bytes are given to the node. Some nodes pass them on late, whatever they answered."""
        self.sent[tx.txid] = tx
        if self._machine.odds.lie and self._machine.rng.random() < self._machine.odds.lie / 2:
            self.late.append(tx)

    def unspent(self, wallet: str) -> dict[str, int]:
        """What a wallet has, pool and chain, by outpoint."""
        with self.state() as s:
            owned = self.owned(s, wallet)
            return {
                f"{txid}:{vout}": output.units
                for txid in (*s.height_of, *s.pool)
                for vout, output in enumerate(s.txs[txid].outputs)
                if output.address in owned and f"{txid}:{vout}" not in s.spender
            }

    def haunt(self, tx: Tx) -> bool:
        """Bytes that were sent at some time come in again from somewhere; whether the pool takes them."""
        with self.state(write=True) as s:
            if s.active(tx.txid):
                return False
        try:
            self.submit(tx)
        except TransactionRefused:
            return False
        return True


class SimWallet(FakeWallet):
    """Tells its chain what it was given to send before any lie is told about it."""

    def broadcast(self, tx: SignedTransaction) -> None:
        inputs, outputs, fee = json.loads(bytes.fromhex(tx.raw))
        assert isinstance(self.node, SimChain)
        self.node.heard(Tx(tuple(inputs), tuple(Output(a, u) for a, u in outputs), fee))
        super().broadcast(tx)
