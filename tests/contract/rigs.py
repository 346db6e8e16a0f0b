"""A wallet on a chain that a test controls: the same controls over the model chain and over real nodes."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from enum import StrEnum
from itertools import count
from typing import ClassVar

import pytest

from ledger.errors import NodeUnavailable
from wallets.protocol import (
    AddressBook,
    ChainWallet,
    DepositPage,
    Output,
    Proposal,
    SeenDeposit,
    SignedTransaction,
    Spend,
    TxState,
    TxStatus,
    WalletIdentity,
)

WATCHED = 20
names = count(1)


class Trait(StrEnum):
    """What a chain or its node can do, and others cannot. A test names what it needs and runs only where it is."""

    WAITS = "waits"  #: nothing enters a block before the test says so
    POOL_DEPOSITS = "pool_deposits"  #: what waits in the pool is seen
    REREADS = "rereads"  #: a cursor repeats the last blocks, whatever happened
    OUTSIDE_REPLACES = "outside_replaces"  #: an outsider can replace what waits (`Rig.replace`)
    EVICTS = "evicts"  #: the node's pool can be made to forget (`Rig.evict`)
    REORGS = "reorgs"  #: the last blocks can be replaced (`Rig.reorg`)
    RESTARTS = "restarts"  #: the node can be stopped and started (`Rig.restart`)
    COINBASE = "coinbase"  #: mined coins can be ours
    COINS = "coins"  #: resources are the coins that are spent; there is change, and any of our coins pays
    DUST = "dust"  #: an output can be too small
    MANY_PAYEES = "many_payees"  #: one transaction pays several
    HOLDS = "holds"  #: the node keeps what it must leave alone
    WATCHES = "watches"  #: the node is told which addresses are ours
    REPLACES = "replaces"  #: a payment that waits can be offered again at a higher fee
    POOL_CONFLICTS = "pool_conflicts"  #: the node tells what replaced a payment in the pool
    NONCES = "nonces"  #: resources are counted: each must be used before the next
    APART = "apart"  #: each index holds its own money
    TOKENS = "tokens"  #: contracts hold other money


def needs(*traits: Trait) -> pytest.MarkDecorator:
    """Run this test only on chains that have all of these."""
    return pytest.mark.needs(*traits)


def until(condition: Callable[[], bool], what: str, timeout_seconds: float = 20) -> None:
    """Wait for a condition with a deadline."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_seconds} s for {what}"
        time.sleep(0.01)


class Rig(ABC):
    """`wallet` is open and watches WATCHED addresses; the outside payer never runs out of coins.

    Index 0 is one whose money the wallet can spend at once. Rates are in the chain's own unit.
    """

    traits: ClassVar[frozenset[Trait]]
    coin: ClassVar[int]  #: an amount in atomic units that is neither small nor large
    rate: ClassVar[int]  #: what gets into a block
    rate_max: ClassVar[int]  #: far above it
    rate_floor: ClassVar[int]  #: no market is below this
    fee_ample: ClassVar[int]  #: more than any payment here needs
    foreign_address: ClassVar[str]  #: of another network
    foreign_cursor: ClassVar[str]  #: well formed, and of no chain that is here
    unknown: ClassVar[tuple[str, str]]  #: key and txid of a deposit that nobody made
    conflict_reason: ClassVar[str] = "conflicted"  #: why a deposit is gone whose coins went elsewhere

    wallet: ChainWallet
    addresses: AddressBook
    identity: WalletIdentity

    def has(self, trait: Trait) -> bool:
        return trait in self.traits

    def address(self, index: int) -> str:
        return self.addresses.at(self.identity.account_public_key, index)

    def read_on(self, cursor: str | None = None) -> DepositPage:
        """All pages after a cursor, as one."""
        page = self.wallet.deposits_since(cursor)
        found, sent = list(page.deposits), list(page.outgoing)
        while page.more:
            page = self.wallet.deposits_since(page.cursor)
            found += page.deposits
            sent += page.outgoing
        return DepositPage(tuple(found), page.cursor, page.tip, page.final_height, outgoing=tuple(sent))

    def seen(self, txid: str, cursor: str | None = None) -> list[SeenDeposit]:
        """The deposits of one transaction, by key."""
        return sorted((d for d in self.read_on(cursor).deposits if d.txid == txid), key=lambda d: d.key)

    def arrive(self, *outputs: Output) -> str:
        """An outsider's payment, as early as this chain shows it."""
        txid = self.pay(*outputs)
        if not self.has(Trait.POOL_DEPOSITS):
            self.mine()
        return txid

    def fund(self, index: int, units: int, blocks: int = 1) -> str:
        """An outsider's confirmed payment to one of our addresses. Its key."""
        txid = self.pay(Output(self.address(index), units))
        self.mine(blocks)
        return self.key_of(txid, self.address(index))

    def key_of(self, txid: str, address: str) -> str:
        found = [d.key for d in self.seen(txid) if d.address == address]
        assert len(found) == 1, found
        return found[0]

    def propose(
        self,
        *outputs: Output,
        rate: int | None = None,
        rate_max: int | None = None,
        excluded: Collection[str] = (),
    ) -> Proposal:
        return self.wallet.propose(Spend(outputs), rate or self.rate, rate_max or self.rate_max, excluded=excluded)

    def sign(self, proposal: Proposal, *outputs: Output) -> SignedTransaction:
        return self.wallet.sign(proposal, Spend(outputs))

    def make(
        self,
        *outputs: Output,
        rate: int | None = None,
        rate_max: int | None = None,
        excluded: Collection[str] = (),
    ) -> SignedTransaction:
        """Proposed and signed, not sent."""
        return self.sign(self.propose(*outputs, rate=rate, rate_max=rate_max, excluded=excluded), *outputs)

    def send(self, *outputs: Output) -> SignedTransaction:
        tx = self.make(*outputs)
        self.wallet.broadcast(tx)
        return tx

    def reprice(
        self, tx: SignedTransaction, *outputs: Output, rate: int, fee_max_units: int | None = None
    ) -> SignedTransaction:
        """A replacement at this rate, signed and not sent."""
        proposal = self.wallet.reprice(tx, Spend(outputs), rate, fee_max_units or self.fee_ample)
        return self.sign(proposal, *outputs)

    def state(self, tx: SignedTransaction) -> TxState:
        return self.status(tx).state

    def status(self, tx: SignedTransaction) -> TxStatus:
        return self.wallet.look_up(tx)

    def cost(self, tx: SignedTransaction) -> int:
        """What a confirmed transaction of ours really paid the network."""
        known = self.status(tx).fee_units
        return tx.fee_units if known is None else known

    @abstractmethod
    def fee_bounds(self, rate: int, payees: int = 1) -> tuple[int, int]:
        """Between which fees a payment without anything special lies."""

    @abstractmethod
    def outside_address(self) -> str: ...

    @abstractmethod
    def pay(self, *outputs: Output) -> str:
        """An outsider pays; returns its id when the wallet could have seen it."""

    @abstractmethod
    def mine(self, blocks: int = 1, coinbase_to: str | None = None) -> None: ...

    @abstractmethod
    def received(self, address: str) -> int:
        """What pool and chain pay to an address, whoever owns it."""

    @abstractmethod
    def lose_reply(self, method: str, *, acted: bool) -> None:
        """The next call of a protocol method gets no answer; the node has acted, or never heard of it."""

    @abstractmethod
    def down(self) -> None: ...

    @abstractmethod
    def up(self) -> None: ...

    def replace(self, txid: str, *outputs: Output) -> str:
        """The outsider replaces a payment that is still in the pool."""
        raise NotImplementedError

    def mine_instead(self, tx: SignedTransaction) -> None:
        """A block with exactly this transaction, whatever the pool prefers."""
        raise NotImplementedError

    def reorg(self, depth: int, *, double_spent: str | None = None) -> None:
        """Replace the last blocks by empty ones (one more); something else spends the inputs of `double_spent`."""
        raise NotImplementedError

    def evict(self, txid: str) -> None:
        """The node's pool forgets a transaction."""
        raise NotImplementedError

    def paid_by(self, tx: SignedTransaction) -> list[str]:
        """The addresses that a transaction of ours pays, change included."""
        raise NotImplementedError

    def restart(self) -> None:
        """Stop the node and start it again, its disk as it was."""
        raise NotImplementedError

    def close(self) -> None:
        return None


def unavailable(call: Callable[[], object]) -> bool:
    """Whether a call got no answer."""
    try:
        call()
    except NodeUnavailable:
        return True
    return False
