"""All tables, by the room they belong to. Migrations create them; `guards` adds what SQL tables cannot say."""

from ledger.schema.access import account, api_key, idempotency, installation, project, request_nonce
from ledger.schema.base import metadata
from ledger.schema.chains import address, chain, deposit, holding, index_counter, ready_address
from ledger.schema.exits import approval, candidate, payment, payment_item, resource, sweep, withdrawal
from ledger.schema.journal import (
    GUARDED_KINDS,
    HOUSE_KINDS,
    asset,
    balance,
    hold,
    hold_end,
    ledger_account,
    posting,
    snapshot,
    transfer,
)
from ledger.schema.operations import (
    alarm,
    audit,
    audit_head,
    event,
    internal_transfer,
    lease,
    pause,
    policy,
    task,
    transition,
)

__all__ = [
    "GUARDED_KINDS", "HOUSE_KINDS", "account", "address", "alarm", "api_key", "approval", "asset", "audit",
    "audit_head", "balance", "candidate", "chain", "deposit", "event", "hold", "hold_end", "holding", "idempotency",
    "index_counter", "installation", "internal_transfer", "lease", "ledger_account", "metadata", "pause", "payment",
    "payment_item", "policy", "posting", "project", "ready_address", "request_nonce", "resource", "snapshot", "sweep",
    "task", "transfer", "transition", "withdrawal",
]  # fmt: skip
