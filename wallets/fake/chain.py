"""The model chain and the controls a test drives it with: mine, pay, replace, evict, reorganise, lie, go down.

Deterministic: the same calls give the same ids. Safe to use from several threads; with a path also from several
processes, any of which may be killed at any time: each change is one file rename under a lock.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from ledger.errors import NodeUnavailable
from wallets.fake.addresses import PREFIX, derive
from wallets.fake.model import State, Tx, WalletState
from wallets.protocol import Output, Tip


class Lie(StrEnum):
    """What the next reply to a method does instead of telling the truth."""

    LOST_UNDONE = "lost_undone"  #: no reply, and nothing happened
    LOST_DONE = "lost_done"  #: no reply, but it happened
    REFUSED_DONE = "refused_done"  #: an error, but it happened
    ACCEPTED_UNDONE = "accepted_undone"  #: success, but nothing happened


class FakeChain:
    """One chain with one node. Wallets on it: `FakeWallet(chain, name)`. Its addresses begin with `prefix`."""

    def __init__(self, path: str | Path | None = None, prefix: str = PREFIX) -> None:
        self.prefix = prefix
        self._path = None if path is None else Path(path)
        self._thread_lock = threading.RLock()
        self._depth = 0
        self._state = State()
        self._version = 0
        self._owned: dict[str, tuple[int, int, dict[str, int | None]]] = {}

    @contextmanager
    def state(self, *, write: bool = False) -> Iterator[State]:
        """The whole chain under its lock; with `write` stored on leaving, also when leaving by an exception."""
        with self._thread_lock:
            if self._path is None or self._depth:
                yield self._state
                return
            with self._path.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._load(self._path)
                self._depth += 1
                try:
                    yield self._state
                finally:
                    self._depth -= 1
                    if write:
                        self._save(self._path)

    def _load(self, path: Path) -> None:
        """Read the file if someone else has written it since: it starts with the number of its version."""
        if not path.exists():
            return
        with path.open("rb") as file:
            version = int.from_bytes(file.read(8))
            if version != self._version:
                self._state = pickle.loads(file.read())  # noqa: S301  # a test's own file
                self._version = version
                self._owned.clear()

    def _save(self, path: Path) -> None:
        self._version += 1
        draft = path.with_suffix(".draft")
        draft.write_bytes(self._version.to_bytes(8) + pickle.dumps(self._state))
        os.replace(draft, path)

    # What tests do to the chain

    @property
    def tip(self) -> Tip:
        with self.state() as s:
            return Tip(s.tip.height, s.tip.hash)

    @property
    def pool(self) -> tuple[str, ...]:
        with self.state() as s:
            return tuple(s.pool)

    def transaction(self, txid: str) -> Tx:
        with self.state() as s:
            return s.txs[txid]

    def received(self, address: str) -> int:
        """Units that active transactions pay to an address, whoever owns it: what a payee would count."""
        with self.state() as s:
            active = [s.txs[txid] for txid in (*s.height_of, *s.pool)]
            return sum(output.units for tx in active for output in tx.outputs if output.address == address)

    def outside_address(self) -> str:
        """A fresh address that no wallet of this chain owns."""
        with self.state(write=True) as s:
            return derive(f"outside/{s.next_serial()}", self.prefix)

    def pay(self, *outputs: Output, fee_units: int = 1000) -> str:
        """An outsider pays; the transaction is in the pool. Its id."""
        with self.state(write=True) as s:
            return self._enter(s, Tx((f"outside:{s.next_serial()}",), outputs, fee_units))

    def fund(self, address: str, units: int, blocks: int = 1) -> str:
        """An outsider pays and `blocks` blocks are mined."""
        txid = self.pay(Output(address, units))
        self.mine(blocks)
        return txid

    def replace(self, txid: str, *outputs: Output) -> str:
        """The payer of a pool transaction replaces it by one with these outputs (none: back to himself)."""
        with self.state(write=True) as s:
            old = s.txs[txid]
            outputs = outputs or (Output(derive(f"outside/{s.next_serial()}", self.prefix), 1),)
            fee = sum(s.txs[t].fee_units for t in s.family([txid])) + 10 * old.vsize
            return self._enter(s, Tx(old.inputs, outputs, fee))

    def submit(self, tx: Tx) -> str:
        """Any transaction by the rules of the pool. Raises `TransactionRefused`."""
        with self.state(write=True) as s:
            return self._enter(s, tx)

    def _enter(self, s: State, tx: Tx) -> str:
        s.accept(tx)
        self.notice(s, tx)
        return tx.txid

    def evict(self, txid: str) -> None:
        """The pool forgets a transaction and its descendants."""
        with self.state(write=True) as s:
            s.drop(s.family([txid]))

    def mine(self, blocks: int = 1, only: Collection[str] | None = None, coinbase_to: str | None = None) -> Tip:
        """Blocks on the tip; the first takes the whole pool, or `only` these transactions."""
        with self.state(write=True) as s:
            for nth in range(blocks):
                block = s.connect((s.pool if only is None else only) if nth == 0 else (), coinbase_to)
                if coinbase_to is not None:
                    self.notice(s, s.txs[block.txids[0]])
            return Tip(s.tip.height, s.tip.hash)

    def mine_instead(self, tx: Tx) -> Tip:
        """A block with this transaction, whatever of the pool it conflicts with (which is dropped)."""
        with self.state(write=True) as s:
            if tx.txid not in s.pool:
                s.drop(s.family({s.spender[i] for i in tx.inputs if i in s.spender}))
                s.enter_pool(tx)
                self.notice(s, tx)
            s.connect([tx.txid])
            return Tip(s.tip.height, s.tip.hash)

    def reorg(self, depth: int, *, gone: Collection[str] = (), double_spent: Collection[str] = ()) -> Tip:
        """Replace the last `depth` blocks by `depth + 1` others.

        Their transactions wait in the pool again, except `gone` (in neither pool nor chain) and `double_spent`
        (something else in the first new block spends their inputs).
        """
        with self.state(write=True) as s:
            s.disconnect(depth)
            s.drop([txid for txid in s.family([*gone, *double_spent]) if txid in s.pool])
            thefts = [Tx(s.txs[txid].inputs, (self._theft(txid),)) for txid in double_spent]
            for tx in thefts:
                s.enter_pool(tx)
                self.notice(s, tx)
            s.connect([tx.txid for tx in thefts])
            for _ in range(depth):
                s.connect(())
            return Tip(s.tip.height, s.tip.hash)

    def _theft(self, txid: str) -> Output:
        return Output(derive(f"outside/theft/{txid}", self.prefix), 1)

    # What tests do to the node

    def down(self) -> None:
        with self.state(write=True) as s:
            s.reachable = False

    def up(self) -> None:
        with self.state(write=True) as s:
            s.reachable, s.unready = True, None

    def unready(self, reason: str, detail: str = "") -> None:
        """Make `health` answer one of its reasons, such as `syncing` or `stale_tip`, until `up()`."""
        with self.state(write=True) as s:
            s.unready = (reason, detail)

    def set_rate(self, rate: int | None, rate_min: int = 1000) -> None:
        """What fee estimation answers (None: it cannot) and what the pool asks at least, per 1000 bytes."""
        with self.state(write=True) as s:
            s.rate, s.rate_min = rate, rate_min

    def lie(self, method: str, lie: Lie, times: int = 1) -> None:
        """Spoil the next replies to a `ChainWallet` method, e.g. `lie("broadcast", Lie.LOST_DONE)`."""
        with self.state(write=True) as s:
            s.lies += [(method, lie.value)] * times

    def lose_next_reply(self, method: str, *, accepted: bool) -> None:
        """The next call of `method` raises `NodeUnavailable`, having acted or not."""
        self.lie(method, Lie.LOST_DONE if accepted else Lie.LOST_UNDONE)

    # What wallets ask

    def begin(self, method: str) -> Lie | None:
        """Called before each node call: raises if it does not get through, else how its reply will lie."""
        with self.state() as s:
            if not s.reachable:
                raise NodeUnavailable("the fake node is down")
            pending = next((entry for entry in s.lies if entry[0] == method), None)
            if pending is None:
                return None
        with self.state(write=True) as s:
            s.lies.remove(pending)
        if pending[1] == Lie.LOST_UNDONE:
            raise NodeUnavailable(f"{method}: connection lost")
        return Lie(pending[1])

    def owned(self, s: State, name: str) -> dict[str, int | None]:
        """Addresses of a wallet: the derivation index of those it watches, None for change."""
        wallet = s.wallets[name]
        watched, change, known = self._owned.get(name, (0, 0, {}))
        for index in range(watched, wallet.watched):
            known[derive(f"{wallet.account_public_key}/{index}", self.prefix)] = index
        for index in range(change, wallet.change_count):
            known[derive(f"{wallet.account_public_key}/change/{index}", self.prefix)] = None
        self._owned[name] = (wallet.watched, wallet.change_count, known)
        return known

    def wallet_state(self, s: State, name: str) -> WalletState:
        """The wallet's disk, made on first use."""
        return s.wallets.setdefault(name, WalletState(f"fakepub:{name}"))

    def notice(self, s: State, tx: Tx) -> None:
        """Wallets remember what touches them at the moment it is seen; an address not watched then is missed."""
        for name, wallet in s.wallets.items():
            owned = self.owned(s, name)
            spent = (self._any_output(s, outpoint) for outpoint in tx.inputs)
            if any(o is not None and o.address in owned for o in (*tx.outputs, *spent)):
                wallet.known[tx.txid] = None

    @staticmethod
    def _any_output(s: State, outpoint: str) -> Output | None:
        txid, _, vout = outpoint.rpartition(":")
        outputs: Sequence[Output] = s.txs[txid].outputs if txid in s.txs else ()
        return outputs[int(vout)] if outputs else None
