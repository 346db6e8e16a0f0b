"""What a chain must be able to do for Coffer, and the frozen values that cross that line.

Units are atomic (`int`). An outpoint-like exclusive thing (a Bitcoin input, a key image, a nonce) is a *resource*,
named by a string that is unique on its chain. Nothing here reads or writes Coffer's database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Output:
    """One payee: a canonical address and whole atomic units."""

    address: str
    units: int


@dataclass(frozen=True, slots=True)
class WalletIdentity:
    """Which chain and which keys a wallet stands for; fixed for the life of a database."""

    genesis_hash: str
    account_public_key: str  #: what addresses are derived from; holds no secret


@dataclass(frozen=True, slots=True)
class Tip:
    """The best block that the node knows and has checked."""

    height: int
    hash: str


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """Whether the node's view may be relied on. `reason` is empty when `ok`, otherwise one stable word
    (`unreachable`, `warming_up`, `credentials`, `forbidden`, `no_wallet`, `unreadable`, `syncing`, `stale_tip`,
    `no_peers`) with `detail` for people."""

    ok: bool
    reason: str = ""
    detail: str = ""
    tip: Tip | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """An unsigned transaction: these resources, this fee, nothing signed and nothing sent.

    `payload` is the adapter's own text (for Bitcoin a PSBT, BIP-174); callers store it and hand it back unread.
    """

    resources: tuple[str, ...]
    fee_units: int
    payload: str
    fee_max_units: int  #: the most that repricing on these resources may ever cost, within the ceiling given
    own_payees: tuple[str, ...] = ()  #: payees that are addresses of this wallet itself, its change included


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Bytes ready to send. The same bytes may be sent any number of times and pay once."""

    txid: str
    raw: str
    fee_units: int
    resources: tuple[str, ...]
    payload: str = ""  #: the proposal it was made from, needed to reprice it


class TxState(StrEnum):
    UNKNOWN = "unknown"  #: neither in the pool nor in the chain of this node
    POOL = "pool"  #: waiting for a block
    CONFIRMED = "confirmed"  #: in the best chain
    CONFLICTED = "conflicted"  #: another transaction in the best chain spends one of its resources, or of its parents'


@dataclass(frozen=True, slots=True)
class TxStatus:
    """Where a transaction of ours stands. `depth` counts blocks, 1 for the tip; for CONFLICTED it is the depth
    of the conflict. `conflicting` are the ids of transactions known to spend its resources."""

    state: TxState
    depth: int = 0
    height: int | None = None
    block_hash: str | None = None
    conflicting: tuple[str, ...] = ()


class DepositStatus(StrEnum):
    POOL = "pool"  #: seen, in no block
    CONFIRMED = "confirmed"  #: in the best chain
    GONE = "gone"  #: neither pool nor chain, replaced in the pool, or conflicted by a block


@dataclass(frozen=True, slots=True)
class SeenDeposit:
    """One output that pays an address of this wallet. `key` is unique on the chain (`txid:vout`)."""

    key: str
    txid: str
    address: str
    units: int
    status: DepositStatus
    height: int | None = None
    block_hash: str | None = None
    coinbase: bool = False
    spendable_depth: int = 1  #: confirmations the chain itself demands before it can be spent (coinbase: 100)
    reason: str = ""  #: for GONE: `replaced`, `conflicted`, `vanished`, `orphaned`


@dataclass(frozen=True, slots=True)
class DepositPage:
    """What was found after a cursor; `tip` is the block the page was read at."""

    deposits: tuple[SeenDeposit, ...]
    cursor: str
    tip: Tip


@dataclass(frozen=True, slots=True)
class ChainBalance:
    """All that the wallet's keys hold on chain, own unconfirmed change included, at `tip`."""

    total_units: int
    spendable_units: int  #: of these, what a payment may use now
    tip: Tip
    pending_units: int = 0  #: of the total, what outsiders have sent and no block holds yet


@dataclass(frozen=True, slots=True)
class FeeMarket:
    """Price of block space. `rate` is in the chain's own unit per byte or gas (Bitcoin: sat per 1000 vB).
    `source` is `estimate` or `fallback` (the node could not tell)."""

    rate: int
    source: str


class AddressBook(Protocol):
    """The part of a chain that needs no node and no secret: what the API process may hold."""

    def parse(self, text: str) -> str:
        """The canonical form of an address of this network. Raises `InvalidAddress`."""
        ...

    def at(self, account_public_key: str, index: int) -> str:
        """The address of a derivation index, from the public key alone."""
        ...

    def uri(self, address: str, units: int | None, label: str | None = None) -> str:
        """The payment URI that wallets scan (Bitcoin: BIP-21)."""
        ...


class ChainWallet(Protocol):
    """One master wallet on one node.

    Every method may raise `NodeUnavailable` (no answer: whether it acted is unknown), `NodeNotReady` or
    `NodeProtocolError`. A value that cannot be read raises; it is never zero.
    """

    chain: str

    def open(self) -> WalletIdentity:
        """Load the wallet (creating it on a test network), check network and keys. Raises `WrongNetwork`."""
        ...

    def health(self) -> NodeHealth:
        """An unreachable node is `ok=False`; the only error raised is `WrongNetwork`."""
        ...

    def watch(self, count: int) -> int:
        """Make the node watch addresses 0 to count-1 at least, stored on its disk; the number it watches now."""
        ...

    def deposits_since(self, cursor: str | None) -> DepositPage:
        """All incoming outputs new or changed since the cursor, in pool and chain; repeats are normal."""
        ...

    def look_up_deposits(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        """The present status of each given deposit, by key. The only way to learn that one has gone."""
        ...

    def propose(
        self,
        outputs: Sequence[Output],
        rate: int,
        rate_max: int,
        *,
        excluded: Collection[str] = (),
    ) -> Proposal:
        """Choose resources for these outputs, to different addresses; nothing is signed, sent or kept.

        `excluded` resources (bound to live payments, or deposits not yet credited) are not used. `rate_max` bounds
        `rate` and what repricing may ever pay. Raises `InsufficientHotFunds`; `InvalidAddress` for an address the
        node refuses; `InvalidAmount` for an output below what the network relays.
        """
        ...

    def sign(self, proposal: Proposal, outputs: Sequence[Output]) -> SignedTransaction:
        """Sign exactly this proposal. The signed bytes are decoded and compared with `outputs`, the resources and
        the fee before they are returned; a difference raises `NodeProtocolError`. Signing twice gives equal bytes."""
        ...

    def reprice(self, signed: SignedTransaction, outputs: Sequence[Output], rate: int, fee_max_units: int) -> Proposal:
        """The same payees on the same resources at a higher fee, taken from our change. Raises
        `InsufficientHotFunds` when the change or `fee_max_units` cannot bear it, `ResourceTaken` when that change
        already serves another payment, which replacing this one would kill: repricing that one lifts both."""
        ...

    def broadcast(self, tx: SignedTransaction) -> None:
        """Hand the bytes to the node; safe to repeat. Already known or already confirmed is success. Raises
        `TransactionRefused` when the node will not have them (then `look_up` decides what that means)."""
        ...

    def look_up(self, tx: SignedTransaction) -> TxStatus:
        """Where this transaction stands in pool and chain."""
        ...

    def hold(self, resources: Collection[str]) -> None:
        """Make the node's own coin selection leave these alone, also after a restart. Idempotent."""
        ...

    def free(self, resources: Collection[str]) -> None:
        """Undo `hold`. Unknown or unheld resources are ignored."""
        ...

    def held(self) -> frozenset[str]:
        """The resources that the node leaves alone now."""
        ...

    def balance(self) -> ChainBalance:
        """What the chain says we hold."""
        ...

    def fee_market(self, blocks_target: int, rate_fallback: int) -> FeeMarket:
        """What a payment should offer to confirm within `blocks_target` blocks."""
        ...


@dataclass(frozen=True, slots=True)
class ChainParts:
    """The two halves of a chain as `wallets.registry` hands them out."""

    addresses: AddressBook
    wallet: ChainWallet | None = field(default=None)
