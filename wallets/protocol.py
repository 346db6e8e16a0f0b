"""What a chain must be able to do for Coffer, and the frozen values that cross that line.

Units are atomic (`int`). An outpoint-like exclusive thing (a Bitcoin input, a key image, a nonce) is a *resource*,
named by a string that is unique on its chain. Nothing here reads or writes Coffer's database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Witness(Protocol):
    """A second node of a chain, which only says what it sees."""

    def depth(self, txid: str, height: int, block_hash: str) -> int:
        """How many blocks of its best chain there are from this one on, the block included; 0 when another block is at
        that height, or none, or the transaction is not in it. Raises `NodeUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """One payee: a canonical address and whole atomic units."""

    address: str
    units: int


#: In `Spend.targets`: the hot wallet's own address, which belongs to no index.
HOT = -1


@dataclass(frozen=True, slots=True)
class Call:
    """A contract call, or the deployment of a contract (`to` None). No coin goes with it."""

    to: str | None
    data: str  #: `0x` and hexadecimal digits


@dataclass(frozen=True, slots=True)
class Spend:
    """What one payment is to do on its chain, as committed rows say it.

    A wallet may refuse what its chain cannot do (a token on Bitcoin) with `ValueError`: no such payment is ever made.
    """

    outputs: tuple[Output, ...]
    token: str | None = None  #: contract of the token that moves; None: the chain's own coin
    #: The indices whose money moves, one for each output in order; empty: the hot wallet's own.
    sources: tuple[int, ...] = ()
    #: For money that stays ours: the own index (or `HOT`) behind each output, in order. `sign` checks each against
    #: the keys, so that no database row can name another address as ours. Empty: the payees are others.
    targets: tuple[int, ...] = ()
    call: Call | None = None
    batched: bool = False  #: the hot wallet sends and pays for all sources in one transaction (EIP-7702)


def coins_only(spend: Spend) -> tuple[Output, ...]:
    """The outputs of a spend for a chain that knows nothing but coins to others. Raises `ValueError` for any other."""
    if spend.token is not None or spend.sources or spend.targets or spend.call is not None:
        raise ValueError("this chain pays its own coin to others and nothing else")
    return spend.outputs


@dataclass(frozen=True, slots=True)
class WalletIdentity:
    """Which chain and which keys a wallet stands for; fixed for the life of a database."""

    genesis_hash: str
    account_public_key: str  #: what addresses are derived from, or what stands for the keys; holds no secret
    hot_index: int | None = None  #: the index whose address is the hot wallet itself, where there is such a one
    used: tuple[str, ...] = ()  #: resources that these keys had used before this database knew them


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
    #: The coins behind the resources, as `SeenDeposit.key` or `txid:…` of our own change; empty where a chain knows
    #: balances instead of coins. Callers refuse those that their books do not know.
    spends: tuple[str, ...] = ()
    #: Resources that the chain shows as used before these: a database that never owned them is not the one that knows
    #: what was sent, and nothing is signed.
    expects: tuple[str, ...] = ()


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
    FAILED = "failed"  #: in the best chain, where it took its fee and its resources and paid nobody (an EVM revert)
    UNCLEAR = "unclear"  #: in the best chain, and did something else than it says: a person must look


@dataclass(frozen=True, slots=True)
class TxStatus:
    """Where a transaction of ours stands. `depth` counts blocks, 1 for the tip; for CONFLICTED it is the depth
    of the conflict. `conflicting` are the ids of transactions known to spend its resources. `fee_units` is what it
    really cost, where that is known only afterwards; None: what it was signed with. `contract` is what it deployed."""

    state: TxState
    depth: int = 0
    height: int | None = None
    block_hash: str | None = None
    conflicting: tuple[str, ...] = ()
    fee_units: int | None = None
    contract: str | None = None
    final: bool = False  #: the chain itself calls its block final, or for CONFLICTED that of the conflict


class DepositStatus(StrEnum):
    POOL = "pool"  #: seen, in no block
    CONFIRMED = "confirmed"  #: in the best chain
    GONE = "gone"  #: neither pool nor chain, replaced in the pool, or conflicted by a block


@dataclass(frozen=True, slots=True)
class SeenDeposit:
    """One payment to an address of this wallet. `key` is unique on the chain and the same in whichever block it is
    (`txid:vout`, `txid:major:minor`, `txid:log:n:digest`), for as long as its transaction does the same there."""

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
    token: str | None = None  #: contract of the token that came in; None: the chain's own coin
    locked: bool = False  #: the chain will not let it be spent yet, whatever its depth (Monero's unlock_time)
    suspect: str = ""  #: why it must not be credited without a person (`balance_mismatch`); empty: nothing is odd


@dataclass(frozen=True, slots=True)
class SeenSpend:
    """A transaction made with this wallet's keys, by whomever. `txid` None: the chain tells no more than that this
    resource is used. `height` None: it is in no block."""

    txid: str | None
    height: int | None = None
    resource: str = ""


@dataclass(frozen=True, slots=True)
class DepositPage:
    """What was found after a cursor; `tip` is the block up to which was read."""

    deposits: tuple[SeenDeposit, ...]
    cursor: str
    tip: Tip
    final_height: int | None = None  #: up to here the chain itself calls its blocks final; None: it has no such word
    more: bool = False  #: the chain goes on: read again at once
    outgoing: tuple[SeenSpend, ...] = ()  #: what these keys have sent, in the same blocks and in the pool


@dataclass(frozen=True, slots=True)
class ChainBalance:
    """All that the wallet's keys hold on chain, own unconfirmed change included, at `tip`.

    Where each index holds its own money (`AddressBook.apart`), it is the hot wallet's and that of the indices asked
    for, which `at_index` tells one by one.
    """

    total_units: int
    spendable_units: int  #: of these, what a payment may use now
    tip: Tip
    pending_units: int = 0  #: of the total, what outsiders have sent and no block holds yet
    locked_units: int = 0  #: of the total, ours but not to be spent for some blocks yet
    unlocks_in_blocks: int | None = None  #: when all of that may be spent
    at_index: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What a token contract says of itself; None where it does not say."""

    symbol: str | None
    decimals: int | None


@dataclass(frozen=True, slots=True)
class FeeMarket:
    """Price of block space. `rate` is in the chain's own unit per byte or gas (Bitcoin: sat per 1000 vB).
    `source` is `estimate` or `fallback` (the node could not tell)."""

    rate: int
    source: str


@dataclass(frozen=True, slots=True)
class SweepTerms:
    """How what lies on an index is collected. `weight` is the most that one sweep needs of what fee rates are for
    (gas, bytes); the index pays for it in the chain's own coin, a token's sweep too. `batch_max` is how many indices
    one `batched` payment of the hot wallet can take; 0: none."""

    hot_address: str
    weight: int
    batch_max: int = 0


class AddressBook(Protocol):
    """The part of a chain that needs no node and no secret: what the API process may hold.

    `derives`: addresses come from the public key alone; otherwise `ChainWallet.addresses` has them, made ahead.
    `apart`: each index holds its own money until it is swept to the hot wallet. `shared`: one address serves any
    number of assets, so that an account needs only one.
    """

    derives: bool
    apart: bool
    shared: bool

    def parse(self, text: str) -> str:
        """The canonical form of an address of this network. Raises `InvalidAddress`."""
        ...

    def at(self, account_public_key: str, index: int) -> str:
        """The address of a derivation index, from the public key alone. Raises `LookupError` unless `derives`."""
        ...

    def uri(self, address: str, units: int | None, label: str | None = None, token: str | None = None) -> str:
        """The payment URI that wallets scan (BIP-21, EIP-681, monero:)."""
        ...

    def typical_fee(self, rate: int, token: bool = False) -> int:
        """What a payment of the coin, or of a token, to one payee costs at this rate, in the chain's own coin. Good
        enough to charge a customer by, not to pay a network."""
        ...


class Directory(Protocol):
    """What a wallet may ask of the database it does not touch: which addresses and tokens are ours to look for."""

    def ours(self, addresses: Collection[str]) -> Collection[str]:
        """Those of the given addresses that were handed out on this chain."""
        ...

    def tokens(self) -> Collection[str]:
        """The contracts of the tokens that are assets on this chain."""
        ...

    def account_public_key(self) -> str | None:
        """What this chain's wallet was bound to at the first contact; None before that."""
        ...


class ChainWallet(Protocol):
    """One master wallet on one node.

    Every method may raise `NodeUnavailable` (no answer: whether it acted is unknown), `NodeNotReady` or
    `NodeProtocolError`. A value that cannot be read raises; it is never zero.
    """

    chain: str
    replaces: bool  #: its pool takes a replacement at a higher fee
    payees_max: int  #: outputs that one transaction may have

    def open(self) -> WalletIdentity:
        """Load the wallet (creating it on a test network), check network and keys. Raises `WrongNetwork`."""
        ...

    def health(self) -> NodeHealth:
        """An unreachable node is `ok=False`; the only error raised is `WrongNetwork`."""
        ...

    def watch(self, count: int) -> int:
        """Make the node watch addresses 0 to count-1 at least, stored on its disk; the number it watches now."""
        ...

    def recover(self, count: int, since_height: int) -> None:
        """After the wallet's own files came from a backup: watch addresses 0 to count-1, and read again what the chain
        has for them above a height (of the time of that backup). What it had prepared before is sent by the node alone
        from now on. May take hours; safe to repeat."""
        ...

    def addresses(self, start: int, count: int) -> Sequence[str]:
        """The addresses of watched indices, stored by the node. Only where the address book does not derive."""
        ...

    def mark(self, text: str) -> None:
        """Write on the wallet itself, where the keys are, which installation it belongs to; replaces what was there.
        Does nothing where the chain's node keeps no wallet."""
        ...

    def marked(self) -> str | None:
        """What `mark` wrote last, whoever did; None for nothing."""
        ...

    def tag(self, index: int, text: str) -> None:
        """Write on the wallet's own books whose this index is, for people; nothing depends on it. May do nothing."""
        ...

    def deposits_since(self, cursor: str | None) -> DepositPage:
        """All incoming payments new or changed since the cursor, in pool and chain; repeats are normal. What this
        wallet paid to itself (change, sweeps, gas) is not among them. `outgoing` is all that its keys have sent,
        whoever used them."""
        ...

    def resources_of(self, txid: str) -> tuple[str, ...]:
        """What a transaction that `outgoing` told of uses, in the words of this chain's resources; empty when it is
        gone again."""
        ...

    def bytes_of(self, txid: str) -> str | None:
        """The bytes of a transaction that `outgoing` told of, as `SignedTransaction.raw` has them; None where the node
        does not have it, or gives no bytes."""
        ...

    def look_up_deposits(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        """The present status of each given deposit, by key. The only way to learn that one has gone."""
        ...

    def propose(self, spend: Spend, rate: int, rate_max: int, *, excluded: Collection[str] = ()) -> Proposal:
        """Choose resources for this spend, to different addresses; nothing is sent.

        `excluded` resources (bound to live payments) and coins (deposits not yet credited) are not used. `rate_max`
        bounds `rate` and what repricing may ever pay. Raises `InsufficientHotFunds` (`FundsLocked` when waiting some
        blocks is all it takes); `WalletBusy` when too many payments are on their way; `InvalidAddress` for an address
        the node refuses; `InvalidAmount` for an output below what the network relays.
        """
        ...

    def sign(self, proposal: Proposal, spend: Spend) -> SignedTransaction:
        """Sign exactly this proposal. The signed bytes are decoded and compared with `spend`, the resources and
        the fee before they are returned; a difference raises `NodeProtocolError`. Signing twice gives equal bytes."""
        ...

    def reprice(self, signed: SignedTransaction, spend: Spend, rate: int, fee_max_units: int) -> Proposal:
        """The same payees on the same resources at a higher fee, taken from our change. Raises
        `InsufficientHotFunds` when the change or `fee_max_units` cannot bear it, `ResourceTaken` when that change
        already serves another payment, which replacing this one would kill: repricing that one lifts both.

        Where the pool `replaces` nothing it makes a new transaction for one that can never confirm as it is
        (`TransactionRefused.invalid`), bound to at least one of its resources; else it raises `ResourceTaken`."""
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

    def balance(self, token: str | None = None, indices: Collection[int] = ()) -> ChainBalance:
        """What the chain says we hold of its coin or of a token; `indices` matter only where money lies apart.
        Raises `TokenUnreadable` where the token's contract does not tell."""
        ...

    def watched_balance(self, address: str, token: str | None = None) -> int | None:
        """What an address that is not in this wallet (a cold one) holds in the chain; None where nobody can see it.
        Raises `TokenUnreadable` where the token's contract does not tell."""
        ...

    def split(self, parts: int, rate_max: int) -> Sequence[Output]:
        """Payments to ourselves that would give about this many separately spendable outputs, so that payouts need
        not wait for change; empty where there are enough, or where change can be spent at once."""
        ...

    def fill(self, live: Collection[str]) -> Sequence[Output]:
        """Payments to ourselves that use up what payments of ours wait for and no `live` resource stands for: a nonce
        before theirs, left by a payment that was let go. Any other payment does the same. Empty where none waits."""
        ...

    def sweep_terms(self, token: str | None = None) -> SweepTerms:
        """What it takes to collect the coin, or a token, from an index. Raises `LookupError` where nothing lies
        apart."""
        ...

    def token_facts(self, contract: str) -> TokenFacts:
        """What a token contract says of itself. Raises `LookupError` where there is no such contract."""
        ...

    def fee_market(self, blocks_target: int, rate_fallback: int) -> FeeMarket:
        """What a payment should offer to confirm within `blocks_target` blocks."""
        ...


@dataclass(frozen=True, slots=True)
class ChainParts:
    """The two halves of a chain as `wallets.registry` hands them out."""

    addresses: AddressBook
    wallet: ChainWallet | None = field(default=None)
