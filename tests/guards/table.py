"""All guards, by family."""

from __future__ import annotations

from tests.guards.backups import BACKUPS
from tests.guards.debts import DEBTS
from tests.guards.guard import MIGRATION, Edit, Guard, unique_key
from tests.guards.reorgs import REORGS

_LEDGER = "tests/integration/test_ledger_guards.py"
_TAKEOVER = "tests/flows/test_crash_takeover.py"
_CRASH = "tests/flows/test_crash.py::test_dying_at_any_point_loses_nothing_and_repeats_nothing"

_KEYS = (
    Guard(
        "one live owner of an input, nonce or key image",
        "unique keys",
        "the unique key on `resource`",
        (unique_key("resource", "uq_resource_chain_resource_key_live"),),
        (f"{_LEDGER}::test_a_resource_has_one_live_owner",),
    ),
    Guard(
        "a transfer stands once",
        "unique keys",
        "the unique key on `transfer.transfer_key`",
        (unique_key("transfer", "uq_transfer_transfer_key"),),
        (f"{_LEDGER}::test_a_transfer_key_stands_once", "tests/integration/test_ledger_postings.py"),
    ),
    Guard(
        "a hold ends once",
        "unique keys",
        "the primary key of `hold_end`",
        (
            Edit(
                MIGRATION,
                'sa.Column("hold_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), '
                'autoincrement=False, nullable=False),\n        sa.Column("outcome"',
                'sa.Column("own", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),\n'
                '        sa.Column("hold_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), '
                'nullable=False),\n        sa.Column("outcome"',
            ),
            Edit(MIGRATION, '        sa.PrimaryKeyConstraint("hold_id", name=op.f("pk_hold_end")),\n'),
        ),
        (f"{_LEDGER}::test_a_hold_ends_once",),
    ),
    Guard(
        "one row for each output on chain",
        "unique keys",
        "the unique key on `deposit`",
        (unique_key("deposit", "uq_deposit_chain_asset_output_key"),),
        (f"{_TAKEOVER}::test_an_output_on_chain_has_one_row_whoever_writes_it",),
    ),
    Guard(
        "a withdrawal is in one live payment",
        "unique keys",
        "the unique key on `payment_item`",
        (unique_key("payment_item", "uq_payment_item_withdrawal_id_live"),),
        (f"{_LEDGER}::test_a_withdrawal_is_in_one_live_payment",),
    ),
    Guard(
        "a reference is one withdrawal's for ever",
        "unique keys",
        "the unique key on `withdrawal.reference`",
        (unique_key("withdrawal", "uq_withdrawal_project_id_reference"),),
        (f"{_LEDGER}::test_a_reference_is_one_withdrawals_for_ever",),
    ),
    Guard(
        "an idempotency key is one request's",
        "unique keys",
        "a repeated key counts as new",
        (
            Edit(
                "api/idempotency.py",
                "            found = self.find(tx)\n        except OperationalError",
                "            return None\n        except OperationalError",
            ),
        ),
        (
            "tests/api/test_idempotency.py::test_a_repeat_gets_the_same_bytes_and_no_second_effect",
            "tests/api/test_idempotency.py::test_parallel_twins_have_one_effect",
        ),
    ),
)

_FENCES = (
    Guard(
        "a worker that lost its lease writes nothing",
        "fencing and compare-and-set",
        "the lease's token in the condition of every outcome",
        (
            Edit(
                "jobs/runtime.py",
                '"own_token": claim.token,',
                '"own_token": _read(tx, saga.table, claim.row.id).lease_token,  # type: ignore[union-attr]\n',
            ),
        ),
        (
            f"{_TAKEOVER}::test_a_worker_paused_while_it_signs_finds_its_row_taken_and_writes_nothing",
            f"{_TAKEOVER}::test_a_worker_paused_inside_a_send_does_not_take_a_settled_payment_back",
        ),
    ),
    Guard(
        "a step whose wallet was taken over writes nothing",
        "fencing and compare-and-set",
        "the wallet's lease in the write of a step's outcome",
        (
            Edit(
                "jobs/runtime.py",
                "if not self._write(tx, saga, claim, values):",
                "if not self._write(tx, saga, claim, values) and False:",
            ),
        ),
        (
            (
                "tests/flows/test_lost_leases.py::"
                "test_a_payment_for_which_another_signer_took_the_wallet_over_is_not_written"
            ),
        ),
    ),
    Guard(
        "a person's decision fences off who sleeps in a step",
        "fencing and compare-and-set",
        "the token that `write` takes away",
        (Edit("jobs/resolve/by_hand.py", ', "lease_token": None}', "}"),),
        ("tests/flows/test_lost_leases.py::test_a_worker_that_slept_while_a_person_decided_writes_nothing",),
    ),
    Guard(
        "a claim compares and sets",
        "fencing and compare-and-set",
        "version and lease in the condition of a claim",
        (
            Edit(
                "jobs/runtime.py",
                'given = {"own_id": row.id, "own_version": row.version, "now": tx.now}',
                'now = _read(tx, saga.table, row.id)\n        given = {"own_id": row.id, "own_version": now.version, '
                '"now": 1 << 62}  # type: ignore[union-attr]',
            ),
            Edit(
                "jobs/runtime.py", "        if row.lease_until > tx.now:\n", "        if row.lease_until > 1 << 62:\n"
            ),
        ),
        (f"{_TAKEOVER}::test_a_row_in_another_workers_hands_is_left_alone",),
    ),
    Guard(
        "one signer a wallet",
        "fencing and compare-and-set",
        "the wallet's lease in a claim",
        (
            Edit(
                "jobs/runtime.py",
                "if step.exclusive and not leases.take(",
                "if False and not leases.take(",
            ),
        ),
        (f"{_TAKEOVER}::test_a_wallet_has_one_signer_at_a_time",),
    ),
    Guard(
        "leases run out",
        "fencing and compare-and-set",
        "a row whose worker died waits for a lease that nobody gives back",
        (Edit("jobs/runtime.py", "        if row.lease_until > tx.now:\n", "        if row.lease_until > 0:\n"),),
        (
            f"{_TAKEOVER}::test_a_row_that_kills_every_worker_is_set_aside_with_its_money_and_the_others_go_on",
            "tests/integration/test_runtime.py::test_a_dead_workers_row_is_taken_over_when_its_lease_ends",
        ),
    ),
    Guard(
        "a withdrawal's state is compared before it is set",
        "fencing and compare-and-set",
        "the version in the condition of `move_all`",
        (
            Edit(
                "jobs/withdrawal.py",
                "current = w.id.in_(ids) & (w.version == version)",
                "current = w.id.in_(ids)",
            ),
            Edit(
                "jobs/withdrawal.py",
                "return row.state in UNSENT and row.payment_id is None",
                "return row.state in UNSENT",
            ),
        ),
        ("tests/integration/test_ledger_races.py::test_cancelling_and_joining_a_payment_exclude_each_other",),
    ),
    Guard(
        "a request that moves a row fences off its worker",
        "fencing and compare-and-set",
        "the lease is left with the worker in `jobs.moves`",
        (
            Edit(
                "jobs/moves.py",
                'lease = {"lease_until": 0, "lease_token": None, "attempts": 0,',
                'lease = {"attempts": 0,',
            ),
        ),
        (
            "tests/flows/test_escrow_races.py",
            "tests/flows/test_escrow_deposits.py",
            "tests/flows/test_swap_operators.py",
        ),
    ),
    Guard(
        "balances are locked before they are compared",
        "fencing and compare-and-set",
        "the row locks in `lock_balances`",
        (
            Edit(
                "ledger/accounts.py",
                "    .order_by(balance.c.ledger_account_id)\n    .with_for_update()\n",
                "    .order_by(balance.c.ledger_account_id)\n",
            ),
        ),
        (
            "tests/integration/test_ledger_races.py::test_twenty_clients_never_make_or_lose_money",
            "tests/integration/test_ledger_races.py::test_a_balance_for_one_pays_one_of_a_hundred",
        ),
    ),
    Guard(
        "a quote is accepted once",
        "fencing and compare-and-set",
        "the looks at its state and for its swap, and the unique key behind them",
        (
            Edit(
                "jobs/swap/quotes.py",
                'if row.state == "accepted":\n        existing',
                'if row.state == "never":\n        existing',
            ),
            Edit("jobs/swap/quotes.py", 'if row.state != "open" or row.expires_at', "if row.expires_at"),
            Edit(
                "jobs/swap/quotes.py",
                'open_ = (q.id == row.id) & (q.state == "open") & (q.version',
                "open_ = (q.id == row.id) & (q.version",
            ),
            Edit(
                "jobs/swap/books.py",
                "existing = tx.value(select(s.public_id).where(s.quote_id == quote_id))",
                "existing = None",
            ),
            unique_key("swap", "uq_swap_quote_id"),
        ),
        ("tests/flows/test_swap_races.py::test_of_thirty_two_that_accept_one_quote_exactly_one_gets_it",),
    ),
)

_ORDER = (
    Guard(
        "stored before it is sent",
        "sign, store, send",
        "the bytes go out as soon as they are signed",
        (
            Edit(
                "jobs/payment/build.py",
                "    signed = services.wallet(row.chain).sign(proposal, what.spend)\n",
                "    signed = services.wallet(row.chain).sign(proposal, what.spend)\n"
                "    services.wallet(row.chain).broadcast(signed)\n",
            ),
        ),
        (
            "tests/flows/test_payments.py::test_a_pause_stops_new_payments_and_those_not_yet_sent",
            f"{_CRASH}[sqlite-withdrawal-0]",
        ),
    ),
    Guard(
        "the intent is committed before anything is sent",
        "sign, store, send",
        "`commit_intent` sends first",
        (
            Edit(
                "jobs/payment/build.py",
                "    return Committed(effect=partial(_commit_intent, head=head))",
                "    services.wallet(row.chain).broadcast(sealed.opened(services, row, newest))\n"
                "    return Committed(effect=partial(_commit_intent, head=head))",
            ),
        ),
        tuple(f"{_CRASH}[sqlite-withdrawal-{part}]" for part in range(4)),
    ),
    Guard(
        "what is sent are the stored bytes",
        "sign, store, send",
        "a vanished payment is proposed and signed anew",
        (
            Edit(
                "jobs/payment/send.py",
                "        wallet.broadcast(signed)\n",
                "        from jobs.payment.contents import contents\n\n"
                "        spend = services.database.read(lambda tx: contents(tx, row)).spend\n"
                "        wallet.broadcast(wallet.sign(wallet.propose(spend, row.rate, row.rate_max), spend))\n",
            ),
        ),
        ("tests/flows/test_payments.py::test_a_vanished_payment_is_sent_again_from_the_stored_bytes",),
    ),
    Guard(
        "a payment that may yet pay is never let go",
        "sign, store, send",
        "the question to the chain in `release`",
        (Edit("jobs/payment/release.py", "    if alive is not None:\n", "    if False:\n"),),
        ("tests/flows/test_payments.py::test_a_payment_that_may_yet_pay_is_never_let_go",),
    ),
    Guard(
        "the daemon is asked before a relay",
        "sign, store, send",
        "the question whether it has the transaction, Monero",
        (
            Edit(
                "wallets/monero/sending.py",
                "            self._check_tried(known)\n            return\n",
                "            self._check_tried(known)\n",
            ),
            Edit("wallets/monero/sending.py", "and not any(self._spent(prepared.key_images))", ""),
        ),
        ("tests/chain/test_monero_sending.py::test_sending_a_confirmed_payment_again_leaves_no_ghost",),
    ),
)

_FREEZE = (
    Guard(
        "coins of live payments are left alone",
        "inputs, nonces and key images",
        "the live resources among what a proposal may not use",
        (
            Edit(
                "jobs/payment/build.py",
                "_propose(row, services, what, live | unripe)",
                "_propose(row, services, what, unripe)",
            ),
        ),
        (f"{_TAKEOVER}::test_coins_of_an_unsent_payment_are_left_alone_though_the_node_forgot_its_locks",),
    ),
    Guard(
        "deposits that are not credited are not spent",
        "inputs, nonces and key images",
        "the uncredited coins among what a proposal may not use, and the check of what it chose",
        (
            Edit(
                "jobs/payment/build.py",
                "_propose(row, services, what, live | unripe)",
                "_propose(row, services, what, live)",
            ),
            Edit(
                "jobs/payment/build.py",
                "        if not strangers:\n            return proposal",
                "        if proposal:\n            return proposal",
            ),
        ),
        ("tests/flows/test_payments.py::test_deposits_not_yet_credited_are_never_spent",),
    ),
    Guard(
        "one payment a nonce",
        "inputs, nonces and key images",
        "nonces of live payments are not left out",
        (
            Edit(
                "wallets/ethereum/nonces.py",
                "for nonce in range(mined, mined + IN_FLIGHT_MAX) if resource(address, nonce) in excluded}",
                "for nonce in range(mined, mined + IN_FLIGHT_MAX) if resource(address, nonce) in ()}",
            ),
        ),
        (
            "tests/contract/test_account_payments.py::test_payments_in_a_row_take_nonces_in_a_row",
            "tests/contract/test_account_payments.py::test_no_more_than_sixteen_are_on_their_way",
        ),
    ),
    Guard(
        "key images are frozen",
        "inputs, nonces and key images",
        "`freeze` in `hold`, Monero",
        (
            Edit(
                "wallets/monero/holds.py",
                '        self._set_all(resources, "freeze", wanted=True)',
                "        self._sync.check_wallet()",
            ),
        ),
        (
            "tests/chain/test_monero_spending.py::test_two_prepared_payments_cannot_share_an_output_once_it_is_held",
            "tests/chain/test_monero_spending.py::test_holds_survive_a_kill_of_the_wallet",
        ),
    ),
    Guard(
        "a Monero payment is rebuilt only when it is dead",
        "inputs, nonces and key images",
        "the proof that its bytes are invalid, in `reprice`",
        (Edit("wallets/monero/spending.py", "        self._check_dead(signed)\n"),),
        ("tests/chain/test_monero_rebuild.py::test_a_payment_that_was_not_sent_yet_is_sent_and_not_rebuilt",),
    ),
    Guard(
        "a rebuilt Monero payment spends the same outputs",
        "inputs, nonces and key images",
        "the other outputs are not frozen meanwhile, and what was chosen is not looked at",
        (
            Edit(
                "wallets/monero/spending.py", "self._holds.meanwhile(others, [coin", "self._holds.meanwhile((), [coin"
            ),
            Edit(
                "wallets/monero/spending.py",
                "if not set(prepared.key_images) <= {coin.key_image for coin in same}:",
                "if False:",
            ),
        ),
        ("tests/chain/test_monero_rebuild.py::test_rebuilding_never_reaches_for_other_outputs",),
    ),
    Guard(
        "money that stays ours, stays ours",
        "inputs, nonces and key images",
        "the proof of each own target, Monero",
        (Edit("wallets/monero/spending.py", "if self._own.at_target(target) != output.address:", "if False:"),),
        ("tests/chain/test_monero_spending.py::test_money_that_stays_ours_goes_to_the_address_that_the_keys_name",),
    ),
    Guard(
        "the database knows what the chain shows as used",
        "inputs, nonces and key images",
        "`expects` in `reserve`",
        (Edit("jobs/payment/build.py", "    if strange:\n", "    if False:\n"),),
        ("tests/flows/test_crash_old_database.py::test_a_nonce_that_is_used_is_seen_before_anything_is_reserved",),
    ),
)

_CHAIN = (
    Guard(
        "a credit waits for its confirmations",
        "confirmations and reorganisations",
        "the wait in `confirming`",
        (
            Edit(
                "jobs/deposit/saga.py",
                "    if not deep:\n        return StillWaiting(values",
                "    if False:\n        return StillWaiting(values",
            ),
        ),
        (
            "tests/flows/test_deposits.py::test_confirmations_follow_the_amount_and_the_emergency_floor",
            "tests/flows/test_deposits.py::test_a_reorg_before_credit_undoes_silently",
        ),
    ),
    Guard(
        "a settlement waits for its confirmations",
        "confirmations and reorganisations",
        "the depth in `_mined`",
        (
            Edit(
                "jobs/payment/send.py",
                "    if mined.status.depth >= rules.withdrawal_confirmations:\n",
                "    if mined.status.depth >= 1:\n",
            ),
        ),
        ("tests/flows/test_withdrawals.py", "tests/flows/test_payments.py"),
    ),
    Guard(
        "a vanished credit is taken back",
        "confirmations and reorganisations",
        "the posting of the reversal",
        (
            Edit(
                "jobs/deposit/saga.py",
                "return Undone(reason=reason, effect=_unbook, due_us=0)",
                "return Undone(reason=reason, due_us=0)",
            ),
        ),
        (
            "tests/flows/test_deposits.py::test_a_reorg_after_credit_reverses_and_the_return_credits_once",
            "tests/flows/test_deposits.py::test_a_reorg_after_the_money_was_spent_leaves_a_debt_that_its_return_repays",
        ),
    ),
    Guard(
        "a settlement that leaves the chain is undone",
        "confirmations and reorganisations",
        "the look at the settled candidate",
        (
            Edit(
                "jobs/payment/send.py",
                "    if status.state is TxState.CONFIRMED and _fee_of(Sight(settled, status)) == row.fee_units:\n",
                "    if True:\n",
            ),
        ),
        (
            (
                "tests/flows/test_payments.py::"
                "test_a_payment_reorganised_after_settlement_settles_again_without_a_second_payment"
            ),
        ),
    ),
    Guard(
        "the tip is judged with the block that was judged",
        "confirmations and reorganisations",
        "the second look at the deposit's block in the crediting transaction",
        (Edit("jobs/deposit/saga.py", "    _check_unmoved(tx, row)\n    number", "    number"),),
        ("tests/flows/test_reorgs.py", "tests/flows/test_scanning.py", "tests/flows/test_deposits.py"),
    ),
    Guard(
        "a node that is behind judges nothing",
        "confirmations and reorganisations",
        "the health in `require_healthy`",
        (Edit("jobs/services.py", "    if row.health_reason is not None:\n", "    if False:\n"),),
        ("tests/flows/test_brake.py::test_what_an_ill_node_says_is_no_proof",),
    ),
    Guard(
        "a branch that was left is read again",
        "confirmations and reorganisations",
        "a mark whose hash differs counts as shared, Ethereum",
        (
            Edit(
                "wallets/ethereum/deposits.py",
                "if block is not None and block.hash == mark.hash:",
                "if block is not None:",
            ),
        ),
        (
            (
                "tests/chain/test_ethereum_scanning.py::"
                "test_a_deep_reorganisation_is_read_again_from_where_the_branches_part"
            ),
        ),
    ),
    Guard(
        "a reverted transaction is tried again only when it is final",
        "confirmations and reorganisations",
        "the wait for finality",
        (
            Edit(
                "jobs/payment/send.py",
                "    if is_final(row, services, mined.status):\n        return Reverted",
                "    if True:\n        return Reverted",
            ),
        ),
        ("tests/flows/test_sweeps.py::test_a_sweep_that_the_chain_reverts_costs_its_gas_and_nothing_else",),
    ),
    Guard(
        "a token's events are its own",
        "confirmations and reorganisations",
        "the check of the contract that emits, Ethereum",
        (
            Edit(
                "wallets/ethereum/incoming.py", ' and address_of(record.get("address"), "logs.address") in tokens', ""
            ),
            Edit("wallets/ethereum/incoming.py", "        if contract in tokens:\n", "        if contract:\n"),
        ),
        (
            "tests/chain/test_ethereum_deposits.py::test_a_listed_and_an_unlisted_token_in_one_transaction_are_told_apart",
        ),
    ),
    Guard(
        "a failed transaction pays nobody",
        "confirmations and reorganisations",
        "the receipt's status, Ethereum deposits",
        (
            Edit(
                "wallets/ethereum/incoming.py",
                '        if status == "0x0":\n            continue\n        if status != "0x1":\n',
                '        if status not in ("0x0", "0x1"):\n',
            ),
        ),
        ("tests/chain/test_ethereum_deposits.py::test_a_failed_transaction_is_nothing",),
    ),
)

_YESTERDAY = "tests/flows/test_yesterdays_database.py"
_SIGNER = (
    Guard(
        "a withdrawal is what the API committed",
        "the signer's second line",
        "the MAC of the withdrawal",
        (Edit("jobs/signer/rules.py", "if not self._mac.same(row.mac, self._mac.withdrawal(row)):", "if False:"),),
        ("tests/unit/test_signer.py::test_a_row_changed_by_hand_is_refused",),
    ),
    Guard(
        "a withdrawal is signed in one payment",
        "the signer's second line",
        "the look for an earlier payment of the withdrawal",
        (
            Edit(
                "jobs/signer/signer.py",
                '        if before is not None:\n            raise SignerRefused("signed_before"',
                '        if False:\n            raise SignerRefused("signed_before"',
            ),
        ),
        ("tests/unit/test_signer.py::test_one_withdrawal_is_not_signed_in_two_payments",),
    ),
    Guard(
        "an order of a shop is signed once, whatever its id",
        "the signer's second line",
        "the look for an earlier payment of the same project and reference",
        (
            Edit(
                "jobs/signer/signer.py",
                "        if before is not None:\n            detail =",
                "        if False:\n            detail =",
            ),
        ),
        ("tests/unit/test_signer.py::test_the_same_order_under_another_id_is_refused",),
    ),
    Guard(
        "a coin or nonce serves one payment",
        "the signer's second line",
        "the look for another payment that a resource was signed away in",
        (Edit("jobs/signer/signer.py", "        if other is not None:\n", "        if False:\n"),),
        (
            "tests/unit/test_signer.py::test_a_lowered_nonce_is_refused",
            "tests/unit/test_signer.py::test_a_coin_serves_one_payment_until_it_is_let_go",
        ),
    ),
    Guard(
        "only signed bytes are sent",
        "the signer's second line",
        "the comparison of stored bytes with the record",
        (
            Edit(
                "jobs/signer/signer.py",
                "    if all(digest != found.digest for",
                "    if False and all(digest != found.digest for",
            ),
        ),
        ("tests/unit/test_signer.py::test_only_what_was_signed_and_not_let_go_may_be_sent",),
    ),
    Guard(
        "the record says what may have left",
        "the signer's second line",
        "its word in `release`",
        (Edit("jobs/payment/release.py", "    return Facts(intended or known.left,", "    return Facts(intended,"),),
        (
            f"{_YESTERDAY}::test_rows_that_say_unsent_of_what_the_record_knows_as_sent_let_nothing_go[sqlite-intent]",
            "tests/unit/test_signer.py::test_what_may_have_left_is_let_go_by_the_chains_word_alone",
        ),
    ),
    Guard(
        "a record that was rolled back is not signed by",
        "the signer's second line",
        "the comparison with the head that the database keeps",
        (
            Edit(
                "jobs/payment/second_line.py",
                "    if not seen.continues:\n",
                "    if False:\n",
            ),
        ),
        (f"{_YESTERDAY}::test_a_record_that_was_rolled_back_is_not_signed_by[sqlite]",),
    ),
    Guard(
        "a database older than what was signed signs nothing",
        "the signer's second line",
        "the entries that nothing explains",
        (Edit("jobs/payment/second_line.py", "    if strange is not None:\n", "    if False:\n"),),
        (f"{_YESTERDAY}::test_a_database_from_before_a_signature_is_told_by_the_record_alone[sqlite]",),
    ),
    Guard(
        "another installation's record signs nothing here",
        "the signer's second line",
        "the comparison of installations",
        (
            Edit(
                "jobs/payment/second_line.py",
                "    if seen.installation is not None and seen.installation != ours:\n",
                "    if False:\n",
            ),
        ),
        (f"{_YESTERDAY}::test_another_installations_record_signs_nothing_here[sqlite]",),
    ),
    Guard(
        "a payment keeps its contents",
        "the signer's second line",
        "the comparison with what was signed before",
        (Edit("jobs/signer/signer.py", "    if known.payload != payload_of(request):\n", "    if False:\n"),),
        (
            "tests/unit/test_signer.py::test_the_same_payment_to_others_is_refused",
            "tests/unit/test_signer.py::test_the_same_payment_from_other_coins_is_refused",
        ),
    ),
    Guard(
        "the daily cap",
        "the signer's second line",
        "the sum of the day",
        (Edit("jobs/signer/signer.py", "        if spent + units > cap:\n", "        if False:\n"),),
        ("tests/unit/test_signer.py::test_the_cap_counts_a_day_of_all_payments_with_fees",),
    ),
    Guard(
        "money must be held for what is paid",
        "the signer's second line",
        "the look at the hold in `sign`",
        (Edit("jobs/payment/build.py", "    if unbacked is not None:\n", "    if False:\n"),),
        ("tests/flows/test_tampering.py::test_a_withdrawal_whose_money_went_back_is_never_signed",),
    ),
)

_BOOKS = (
    Guard(
        "no balance turns negative",
        "the books",
        "the comparison in `postings`, and the CHECK behind it",
        (Edit("ledger/postings.py", "        if after < 0:\n", "        if False:\n"),),
        (
            "tests/integration/test_ledger_postings.py",
            "tests/integration/test_ledger_races.py::test_a_balance_for_one_pays_one_of_a_hundred",
        ),
    ),
    Guard(
        "the journal is append-only",
        "the books",
        "the trigger on `posting`",
        (Edit(MIGRATION, '            "posting",\n            "hold",\n', '            "hold",\n'),),
        (f"{_LEDGER}::test_history_is_append_only",),
    ),
    Guard(
        "what a withdrawal pays never changes",
        "the books",
        "the trigger of frozen columns",
        (Edit("migrations/guards.py", '    changed = " OR ".join(', '    return\n    changed = " OR ".join('),),
        (f"{_LEDGER}::test_what_a_withdrawal_pays_never_changes",),
    ),
    Guard(
        "a daily limit is counted behind the lock",
        "the books",
        "the lock before limits are counted",
        (
            Edit(
                "jobs/withdrawal.py",
                "    available = accounts.lock_balances(tx, [row_id])[row_id]\n",
                "    available = balances.get(tx, owner, asset.code)\n",
            ),
        ),
        ("tests/integration/test_ledger_races.py::test_limits_cannot_be_passed_in_parallel",),
    ),
    Guard(
        "an escrow never gives more than it holds",
        "the books",
        "the lock of the escrow's row",
        (Edit("jobs/moves.py", "where(table.c.id == row_id).with_for_update())", "where(table.c.id == row_id))"),),
        ("tests/flows/test_escrow_races.py", "tests/flows/test_swap_races.py"),
    ),
    Guard(
        "a reservation is freed with its row",
        "the books",
        "the row keeps what it says it has reserved",
        (
            Edit(
                "jobs/swap/books.py",
                "        tx.execute(update(swap).where(swap.c.id == row.id).values(reserved_units=0))\n",
            ),
        ),
        ("tests/flows/test_swap_refunds.py", "tests/flows/test_swap_deposits.py"),
    ),
    Guard(
        "an escrow's fee is rounded down, in steps and in all",
        "the books",
        "it is rounded up",
        (
            Edit(
                "jobs/escrow/terms.py",
                "return self.fee_units * released // self.units",
                "return -(-self.fee_units * released // self.units)",
            ),
        ),
        ("tests/unit/test_escrow_terms.py",),
    ),
)

GUARDS: tuple[Guard, ...] = (*_KEYS, *_FENCES, *_ORDER, *_FREEZE, *_CHAIN, *_SIGNER, *_BOOKS, *BACKUPS, *REORGS, *DEBTS)
