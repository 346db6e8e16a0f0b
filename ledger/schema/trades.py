"""Escrows, rates, quotes and swaps: money that waits for something else than a chain."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, SmallInteger, String, UniqueConstraint

from ledger.schema.base import key, link, moment, one_of, public_id, table, word
from ledger.schema.saga import due_index, saga_columns
from ledger.types import Id, Units, units_checks

ESCROW_STATES = (
    "awaiting_funds",
    "funded",
    "disputed",
    "released",
    "refunded",
    "resolved",
    "expired",
    "cancelled",
)

#: Its money lies in the buyer's ledger account of kind `escrow`; `held_units` is this escrow's part of it.
escrow = table(
    "escrow",
    key(),
    public_id(),
    link("project_id", "project.id"),
    word("queue", 16),
    link("buyer_id", "account.id", index=True),
    link("vendor_id", "account.id", index=True),
    link("order_id", "account.id", null=True, index=True),  # the account of kind `order` that it is for, if any
    word("asset", 24),
    Column("units", Units, nullable=False),  # the price that was agreed on
    Column("fee_units", Units, nullable=False),  # the house's whole fee, fixed when it is made
    word("fee_from", 8),
    Column("wanted_units", Units, nullable=False),  # what funds it: the price, and the fee where the buyer bears it
    Column("held_units", Units, nullable=False, default=0),
    Column("received_units", Units, nullable=False, default=0),  # all that ever came for it and was not taken back
    Column("released_units", Units, nullable=False, default=0),  # of the price, fee included where the vendor bears it
    Column("refunded_units", Units, nullable=False, default=0),
    Column("fee_taken_units", Units, nullable=False, default=0),
    word("reference", 128),
    Column("metadata", JSON, nullable=True),
    word("on_underpaid", 8),
    word("on_overpaid", 8),
    word("on_late", 8),
    word("arbiter", 8),
    moment("funding_deadline", null=True),
    moment("deadline", null=True),  # of what happens by itself to a funded one
    word("at_deadline", 8, null=True),
    link("address_id", "address.id", null=True),
    Column("releases", Integer, nullable=False, default=0),  # numbers the keys of its releases and refunds
    moment("funded_at", null=True),
    Column("undone_units", Units, nullable=False, default=0),  # released, and then its funding left the chain
    Column("created_by", Id, nullable=True),
    word("actor", 128),
    *saga_columns(),
    UniqueConstraint("project_id", "reference"),
    one_of("state", ESCROW_STATES),
    one_of("fee_from", ("buyer", "vendor")),
    one_of("on_underpaid", ("wait", "accept", "hold")),
    one_of("on_overpaid", ("return", "keep", "hold")),
    one_of("on_late", ("return", "accept", "hold")),
    one_of("arbiter", ("key", "operator")),
    one_of("at_deadline", ("release", "refund")),
    *units_checks("units", positive=True),
    *units_checks("fee_units", positive=False),
    *units_checks("held_units", positive=False),
    Index("ix_escrow_project", "project_id", "id"),
    due_index("escrow"),
)

#: Where a frozen part lies: in a hold of its own out of its account's balance, or in an escrow or a withdrawal that
#: waits for it.
FROZEN_PLACES = ("balance", "escrow", "withdrawal")

#: What a vanished deposit had paid for and nobody has spent yet: frozen until the deposit is back.
frozen_part = table(
    "frozen_part",
    key(),
    link("deposit_id", "deposit.id", index=True),
    link("debtor_id", "account.id", index=True),  # who owes for the deposit
    word("kind", 16),  # escrow, swap or transfer: what had passed the money on
    Column("row_id", Id, nullable=False),
    link("account_id", "account.id"),
    word("asset", 24),  # another than the deposit's, where a swap lies between
    Column("units", Units, nullable=False),
    word("place", 16),
    Column("place_id", Id, nullable=True),  # of the escrow or withdrawal
    word("hold_key", 128, unique=True),
    Column("live", SmallInteger, nullable=True),  # 1, or NULL once it was thawed or taken
    moment("created_at"),
    one_of("place", FROZEN_PLACES),
    *units_checks("units", positive=True),
    Index("ix_frozen_part_place", "place", "place_id", "live"),
)

#: One asset's price in one currency, decided from several sources. Only rows with a price can be used.
rate = table(
    "rate",
    key(),
    Column("asset", String(24), ForeignKey("asset.code"), nullable=False),
    word("currency", 8),
    word("price", 64, null=True),  # decimal text: exact on every database; NULL: refused, see `problem`
    word("problem", 24, null=True),  # stale, divergent or unavailable
    word("detail", 512, null=True),
    Column("spread_ppm", Integer, nullable=True),  # how far the used sources lie apart
    Column("sources", JSON, nullable=False),  # each source's word, and whether it was used
    moment("quoted_at", null=True),  # of the oldest source used
    moment("at"),
    Index("ix_rate_newest", "asset", "currency", "id"),
    Index("ix_rate_at", "at"),
)

QUOTE_STATES = ("open", "accepted", "expired")

quote = table(
    "quote",
    key(),
    public_id(),
    link("project_id", "project.id"),
    word("sell_asset", 24),
    word("buy_asset", 24),
    word("side", 4),  # which amount the customer named
    Column("sell_units", Units, nullable=False),  # what the customer gives
    Column("buy_units", Units, nullable=False),  # what the customer gets, all fees taken
    Column("service_fee_units", Units, nullable=False),  # in the asset that is bought, as is the next
    Column("network_fee_units", Units, nullable=False),
    Column("rounding_units", Units, nullable=False),  # what exact arithmetic leaves over in the house's favour
    word("rate", 64),  # bought per sold before spread and fees, in whole coins, as decimal text
    Column("spread_ppm", Integer, nullable=False),
    Column("payout", SmallInteger, nullable=False),  # 1: the network fee of a payout is in the price
    Column("minimum_units", Units, nullable=False),  # what could be sold at that moment
    Column("maximum_units", Units, nullable=False),
    link("sell_rate_id", "rate.id", index=True),  # indexed: old rates that priced nothing go
    link("buy_rate_id", "rate.id", index=True),
    word("state", 16),
    moment("expires_at"),
    Column("created_by", Id, nullable=True),
    Column("version", Integer, nullable=False, default=1),
    moment("created_at"),
    moment("updated_at"),
    one_of("state", QUOTE_STATES),
    one_of("side", ("sell", "buy")),
    *units_checks("sell_units", positive=True),
    *units_checks("buy_units", positive=True),
    Index("ix_quote_project", "project_id", "id"),
    Index("ix_quote_open", "state", "expires_at"),
)

SWAP_STATES = (
    "awaiting_deposit",
    "executed",
    "paying_out",
    "completed",
    "refunding",
    "refunded",
    "expired",
    "failed",
)

#: While it waits for its deposit, what it will give lies in the house's ledger account `reserved`; what came in for it
#: and is not executed lies in the customer's ledger account `swap`.
swap = table(
    "swap",
    key(),
    public_id(),
    link("project_id", "project.id"),
    word("queue", 16),
    link("account_id", "account.id", index=True),
    link("quote_id", "quote.id"),
    word("form", 8),
    word("sell_asset", 24),
    word("buy_asset", 24),
    Column("sell_units", Units, nullable=False),  # as executed; as quoted before
    Column("buy_units", Units, nullable=False),
    Column("service_fee_units", Units, nullable=False),
    Column("network_fee_units", Units, nullable=False),
    Column("rounding_units", Units, nullable=False),
    Column("reserved_units", Units, nullable=False, default=0),
    Column("received_units", Units, nullable=False, default=0),
    Column("held_units", Units, nullable=False, default=0),  # received, and neither executed nor given back
    word("rate", 64),
    Column("slippage_ppm", Integer, nullable=False, default=0),
    link("requote_sell_rate_id", "rate.id", null=True, index=True),  # of the second look, where there was one
    link("requote_buy_rate_id", "rate.id", null=True, index=True),
    moment("requote_since", null=True),  # since when it needs new rates and has found none to use
    word("reference", 128),
    Column("metadata", JSON, nullable=True),
    word("payout_address", 128, null=True),
    word("refund_address", 128, null=True),
    link("address_id", "address.id", null=True),
    moment("deposit_deadline", null=True),
    moment("executed_at", null=True),
    link("withdrawal_id", "withdrawal.id", null=True, index=True),
    link("refund_withdrawal_id", "withdrawal.id", null=True, index=True),
    Column("refunds", Integer, nullable=False, default=0),  # numbers the keys of its refunds
    Column("created_by", Id, nullable=True),
    word("actor", 128),
    word("mac", 64),  # of whose it is and whom it may pay: see jobs.row_mac
    *saga_columns(),
    UniqueConstraint("quote_id"),
    UniqueConstraint("project_id", "reference"),
    one_of("state", SWAP_STATES),
    one_of("form", ("balance", "deposit")),
    *units_checks("sell_units", positive=True),
    *units_checks("buy_units", positive=True),
    *units_checks("reserved_units", positive=False),
    *units_checks("held_units", positive=False),
    Index("ix_swap_project", "project_id", "id"),
    Index("ix_swap_open", "account_id", "state"),
    due_index("swap"),
)

HEDGE_STATES = ("planned", "placed", "filled", "failed", "review")

#: One order on an exchange. `client_order_id` is stored before the exchange hears of it, and found again by it.
hedge = table(
    "hedge",
    key(),
    public_id(),
    word("queue", 16),
    word("venue", 32),
    word("symbol", 32),
    word("side", 4),
    word("asset", 24),
    Column("units", Units, nullable=False),
    word("client_order_id", 40, unique=True),
    word("venue_order_id", 128, null=True),
    word("filled", 64, null=True),  # decimal texts, as the exchange gave them
    word("average_price", 64, null=True),
    word("cost", 64, null=True),
    moment("placed_at", null=True),  # written before the exchange hears of it, and once: nobody sends it twice
    moment("settled_at", null=True),  # when the coins it is about were moved, so that it is no position any more
    *saga_columns(),
    one_of("state", HEDGE_STATES),
    one_of("side", ("buy", "sell")),
    *units_checks("units", positive=True),
    due_index("hedge"),
)
