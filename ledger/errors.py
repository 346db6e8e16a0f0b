"""Every error Coffer raises on purpose, as one tree.

CofferError
├── InvalidInput            the caller sent something that breaks a named rule (HTTP 422)
│   ├── InvalidAmount
│   └── InvalidAddress
├── Refused                 well formed, but the present state forbids it (HTTP 4xx by code)
│   ├── InsufficientFunds
│   ├── LimitExceeded
│   ├── StateConflict
│   ├── ReferenceExists     this project has used that reference before
│   ├── AssetPaused
│   ├── AccountFrozen
│   ├── QuoteExpired        a price is kept for a minute, not for ever
│   ├── QuoteUsed           one quote serves one swap
│   ├── InventoryShort      the house has not enough of what is bought
│   └── NotFound
├── TryLater                what it needs is being made: ask again in a moment (HTTP 503, Retry-After)
│   └── RatesNotReady       no exchange rate that may be used
├── DatabaseError
│   ├── CommitUnknown       the reply to COMMIT was lost: re-read by natural key before anything else
│   ├── DatabaseUnavailable nothing was written
│   ├── UnsafeDatabase      settings that could lose an acknowledged commit: refuse to start
│   └── SchemaMismatch      another schema version: refuse to start
├── LedgerBroken            an impossible ledger state; the asset must stop
├── LeaseLost               another worker owns the row now; nothing was written
└── WalletError
    ├── NodeUnavailable     no usable answer (down, warming up, time-out): whether it acted is unknown
    ├── NodeNotReady        it answers, but syncing, stale or alone: wait
    ├── WrongNetwork        another chain or genesis: refuse to start
    │   └── OtherInstallation the wallet carries the mark of another database: refuse to start
    ├── NodeProtocolError   an answer of an unexpected shape: stop, do not guess
    │   └── TokenUnreadable a token's contract tells no balance: that token stops, and nothing else
    ├── InsufficientHotFunds the wallet cannot pay this now
    │   └── FundsLocked     it holds enough; some blocks must pass before that may be spent
    ├── WalletBusy          too many payments are on their way: wait for one of them
    ├── ResourceTaken       a chosen input belongs to another live payment
    └── TransactionRefused  the node examined the bytes and will not have them; look up before judging
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class CofferError(Exception):
    """Base of all errors raised on purpose. `code` is stable and public."""

    code = "internal_error"

    def __init__(self, detail: str = "", **context: object) -> None:
        super().__init__(detail or self.code)
        self.detail = detail or self.code
        self.context = context


def codes(of: type[CofferError] = CofferError) -> set[str]:
    """The codes of these errors and of all below them."""
    return {of.code}.union(*(codes(below) for below in of.__subclasses__()))


class InvalidInput(CofferError):
    """A field breaks a rule. `pointer` is a JSON pointer into the request body (RFC 6901)."""

    code = "validation_failed"

    def __init__(self, pointer: str, detail: str, code: str | None = None) -> None:
        super().__init__(detail)
        self.pointer = pointer
        if code is not None:
            self.code = code


class InvalidAmount(InvalidInput):
    """An amount that is not an exact, positive, in-range decimal string of its asset."""

    code = "amount_invalid"


class InvalidAddress(InvalidInput):
    """An address that is malformed, of another network, or may not be paid."""

    code = "address_invalid"


class Refused(CofferError):
    """Understood, and refused by the present state; nothing was written."""

    code = "state_conflict"


class StateConflict(Refused):
    """The resource is not in a state that allows this."""


class ReferenceExists(Refused):
    """The project has used this reference for this resource before. `context["existing"]` is its public id."""

    code = "reference_exists"


class InsufficientFunds(Refused):
    """The spendable balance does not cover amount and fee."""

    code = "insufficient_funds"


class LimitExceeded(Refused):
    """A policy limit of the account and asset would be passed."""

    code = "limit_exceeded"


class AssetPaused(Refused):
    """An operator, or a failed reconciliation, has paused this flow of this asset."""

    code = "asset_disabled"


class AccountFrozen(Refused):
    """The account owes the house after a reorganisation, or an operator froze it."""

    code = "account_frozen"


class QuoteExpired(Refused):
    """The quote's time is over by the database's clock. Another one may have another price."""

    code = "quote_expired"


class QuoteUsed(Refused):
    """The quote was accepted before. `context["existing"]` is the public id of its swap."""

    code = "quote_used"


class InventoryShort(Refused):
    """The house's free inventory does not cover what would be bought."""

    code = "inventory_short"


class NotFound(Refused):
    """No such resource in this project."""

    code = "not_found"


class TryLater(CofferError):
    """Nothing was written but, by `remember`, that somebody asked. `retry_after_seconds` is when to ask again."""

    code = "try_later"

    def __init__(
        self, detail: str, code: str, retry_after_seconds: int, remember: Callable[[Any], None] | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        self.remember = remember


class RatesNotReady(TryLater):
    """`rate_stale`, `rate_divergent` or `rate_unavailable`: nothing is priced by a rate that may not be used."""


class DatabaseError(CofferError):
    """The database could not do what was asked."""

    code = "database_unavailable"


class CommitUnknown(DatabaseError):
    """COMMIT was sent and its reply lost: it may stand or not."""


class DatabaseUnavailable(DatabaseError):
    """No connection, or a lock wait that outlived its retries; nothing was written."""


class UnsafeDatabase(DatabaseError):
    """The server could lose an acknowledged commit as it is configured."""


class SchemaMismatch(DatabaseError):
    """The schema is not the one this program was written for."""


class LedgerBroken(CofferError):
    """A ledger invariant does not hold. Never caught to carry on."""

    code = "ledger_broken"


class LeaseLost(CofferError):
    """The fencing token is no longer the row's: another worker has taken over."""

    code = "lease_lost"


class WalletError(CofferError):
    """Something on the chain's side."""

    code = "node_unavailable"


class NodeUnavailable(WalletError):
    """No usable answer. Whether the node acted is unknown; the same bytes may be repeated."""


class NodeNotReady(WalletError):
    """The node answers but its view of the chain cannot be relied on now."""


class SigningHalted(NodeNotReady):
    """Nothing is signed on this chain until an operator has looked (`ledger.halts`)."""

    code = "signing_halted"


class WrongNetwork(WalletError):
    """The node follows another chain than the one this installation was made for."""

    code = "wrong_network"


class OtherInstallation(WrongNetwork):
    """The wallet belongs to another installation: two databases on one set of keys pay from each other's money."""

    code = "other_installation"


class NodeProtocolError(WalletError):
    """An answer without a field, or with a type, that the protocol promises."""

    code = "node_protocol_error"


class TokenUnreadable(NodeProtocolError):
    """A token's contract tells no balance, though the node tells that of the coin: the token is at fault."""


class InsufficientHotFunds(WalletError):
    """The hot wallet cannot fund this payment with what it may spend now."""

    code = "insufficient_hot_funds"


class FundsLocked(InsufficientHotFunds):
    """The hot wallet holds enough, and may spend it after `blocks` more blocks."""

    code = "hot_funds_locked"

    def __init__(self, detail: str = "", blocks: int = 1) -> None:
        super().__init__(detail)
        self.blocks = blocks


class WalletBusy(WalletError):
    """As many payments of this wallet are on their way as it allows; one more waits for one of them."""

    code = "wallet_busy"


class ResourceTaken(WalletError):
    """An input that the node proposed is already bound to another live payment."""

    code = "resource_taken"


class TransactionRefused(WalletError):
    """The node refused the bytes. Not a proof that no earlier copy is on its way. `invalid`: as the chain stands they
    can never confirm, though their resources are unspent (Monero ring members that a reorganisation removed)."""

    code = "transaction_refused"

    def __init__(self, detail: str = "", *, invalid: bool = False) -> None:
        super().__init__(detail)
        self.invalid = invalid
