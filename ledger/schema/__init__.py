"""All tables, by the room they belong to. Migrations create them; `guards` adds what SQL tables cannot say."""

from ledger.schema.access import account, api_key, idempotency, installation, project, request_nonce
from ledger.schema.base import metadata
from ledger.schema.chains import address, chain, deposit, holding, index_counter, ready_address
from ledger.schema.exits import approval, candidate, payment, payment_item, resource, sweep, withdrawal
from ledger.schema.journal import (
    CUSTOMER_KINDS,
    GUARDED_KINDS,
    HOUSE_KINDS,
    OWED_KINDS,
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
    difference,
    event,
    halt,
    internal_transfer,
    lease,
    outgoing,
    pause,
    policy,
    restoration,
    signer_head,
    task,
    transition,
)
from ledger.schema.ownership import ownership, ownership_head
from ledger.schema.trades import escrow, frozen_part, hedge, quote, rate, swap
from ledger.schema.webhooks import webhook_attempt, webhook_delivery, webhook_endpoint

__all__ = [
    "CUSTOMER_KINDS", "GUARDED_KINDS", "HOUSE_KINDS", "OWED_KINDS", "account", "address", "alarm", "api_key",
    "approval", "asset", "audit", "audit_head", "balance", "candidate", "chain", "deposit", "difference", "escrow",
    "event", "frozen_part", "halt", "hedge", "hold", "hold_end", "holding", "idempotency", "index_counter",
    "installation", "internal_transfer", "lease", "ledger_account", "metadata", "outgoing", "ownership",
    "ownership_head", "pause", "payment", "payment_item", "policy", "posting", "project", "quote", "rate",
    "ready_address", "request_nonce", "resource", "restoration", "signer_head", "snapshot", "swap", "sweep", "task",
    "transfer", "transition", "webhook_attempt", "webhook_delivery", "webhook_endpoint", "withdrawal",
]  # fmt: skip
