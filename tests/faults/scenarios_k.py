"""K: what reviews, simulation and soak have found beyond the 126."""

from __future__ import annotations

from tests.faults.scenario import Scenario

SCENARIOS = (
    Scenario(
        "K1",
        "A shop repeats yesterday's order after a restore",
        "the signer's record knows the order; it goes to a person and is not paid again",
        tests=(
            "flows/test_yesterdays_database.py::test_a_shop_that_repeats_the_call_that_a_restored_database_lost_is_not_paid_again",
        ),
    ),
    Scenario(
        "K2",
        "Money is given back for what a lost life has paid",
        "no refund, cancellation or retry without the record's word, or a person's",
        tests=(
            "ops/test_backup_drill.py::test_a_payment_is_not_refunded_whose_withdrawals_another_one_paid_in_the_lost_life",
            "ops/test_backup_drill.py::test_a_fee_that_was_raised_since_is_not_paid_again_where_nobody_knows_of_it",
        ),
    ),
    Scenario(
        "K3",
        "Restored rows have bytes that were let go since",
        "they are not sent: another payment may have been made in their place",
        tests=(
            "flows/test_yesterdays_database.py::test_bytes_that_were_let_go_are_not_sent_by_an_older_database",
            "ops/test_backup_drill.py::test_a_payment_that_was_let_go_in_the_lost_life_is_not_sent_by_a_recheck",
        ),
    ),
    Scenario(
        "K4",
        "The signer's record is lost, rolled back, or another's",
        "signing halts until a person accepts what is there",
        tests=(
            "flows/test_yesterdays_database.py::test_a_record_that_was_rolled_back_is_not_signed_by",
            "flows/test_yesterdays_database.py::test_a_lost_record_is_noticed_even_by_a_worker_that_starts_anew",
            "flows/test_yesterdays_database.py::test_another_installations_record_signs_nothing_here",
        ),
    ),
    Scenario(
        "K5",
        "A worker sleeps in a step while a person decides about its row",
        "what it writes afterwards is void",
        tests=("flows/test_lost_leases.py::test_a_worker_that_slept_while_a_person_decided_writes_nothing",),
    ),
    Scenario(
        "K6",
        "Another signer takes the wallet over, and not the row",
        "the step writes nothing: the other has chosen by what it has not changed",
        tests=(
            "flows/test_lost_leases.py::test_a_payment_for_which_another_signer_took_the_wallet_over_is_not_written",
        ),
    ),
    Scenario(
        "K7",
        "An outage just before something that only a person can decide",
        "the outage's alarm ends with it; what was found out stays open",
        tests=("flows/test_hedges.py::test_an_order_that_is_unclear_after_an_outage_has_its_alarm",),
    ),
    Scenario(
        "K8",
        "A reference is repeated after what it needs has changed",
        "the shop hears that it was used, and by what, before any other refusal",
        tests=(
            "api/test_references.py::test_a_withdrawal",
            "api/test_references.py::test_a_transfer",
            "api/test_references.py::test_an_escrow_whose_deadline_is_over",
        ),
    ),
    Scenario(
        "K9",
        "A deposit is taken back while what it paid for is being released",
        "the reversal waits for the release, and freezes the money where it is by then",
        tests=(
            "flows/test_reversal_races.py::test_what_an_escrow_releases_while_its_money_is_being_traced_is_frozen_at_the_vendor",
            "flows/test_reversal_races.py::test_what_the_debtors_own_escrow_releases_while_he_is_being_frozen_is_frozen_at_the_vendor",
        ),
    ),
    Scenario(
        "K10",
        "The clock is set back while a credit waits to be undone",
        "books and chain are not judged meanwhile",
        tests=("flows/test_brake.py::test_an_undo_that_waits_for_a_clock_that_was_set_back_has_not_been_done",),
    ),
    Scenario(
        "K11",
        "The COMMIT of an operator's booking is lost",
        "it is made once, or he is told to look first",
        tests=(
            "unit/test_patience.py::test_capital_is_moved_once_whether_its_commit_stood_or_not",
            "unit/test_patience.py::test_a_loss_is_booked_once",
            "unit/test_patience.py::test_where_nobody_can_tell_the_operator_is_told_to_look",
        ),
    ),
    Scenario(
        "K12",
        "A payment is mined while its bump fails again and again",
        "it is settled; that it cannot be bumped is told",
        tests=(
            "flows/test_bumps.py::test_a_payment_whose_bump_always_fails_settles_once_it_is_in_a_block",
            "flows/test_bumps.py::test_a_batched_sweep_settles_though_another_sweeper_was_named_before_its_bump",
            "flows/test_bumps.py::test_a_payment_that_waits_long_and_cannot_be_bumped_is_told",
        ),
    ),
    Scenario(
        "K13",
        "A payment that was made anew leaves coins over",
        "they are recorded as free before the rows let them go",
        tests=(
            "flows/test_leftovers.py::test_a_coin_that_a_final_payment_left_over_pays_the_next",
            "flows/test_leftovers.py::test_a_worker_that_dies_after_the_record_leaves_nothing_strange",
        ),
        lacks="on a real monerod: its rebuilt payments used all their outputs in every run",
    ),
    Scenario(
        "K14",
        "A nonce was used elsewhere, and the node keeps few states",
        "dead by the chain's final block, so that a person can decide",
        tests=(
            "chain/test_ethereum_wallet.py::test_a_nonce_used_in_a_final_block_is_used_for_good_though_the_node_keeps_few_states",
            "flows/test_payments.py::test_what_a_final_block_has_spent_otherwise_is_dead_however_deep_the_node_says_it_is",
        ),
    ),
    Scenario(
        "K15",
        "An address of the lost life is given to its owner while its deposit is judged",
        "the deposit is the owner's",
        tests=(
            "flows/test_given_addresses.py::test_a_deposit_that_was_judged_as_nobodys_before_its_address_was_given_is_credited",
            "flows/test_given_addresses.py::test_a_deposit_that_is_found_while_its_address_is_being_given_is_credited",
        ),
    ),
    Scenario(
        "K16",
        "Clients send half a request, or nothing, by the thousand",
        "no thread waits for them, and others are answered",
        tests=(
            "unit/test_arrival.py::test_a_request_is_whole_with_its_last_byte_and_not_before",
            "api/test_front.py::test_a_deploy_does_not_wait_for_the_silent",
        ),
    ),
    Scenario(
        "K17",
        "A worker is stopped inside a database transaction, for as long as it likes",
        "MariaDB rolls it back and lets its locks go; no snapshot steps over its postings",
        tests=(
            "integration/test_ledger_races.py::test_who_sleeps_inside_a_transaction_is_rolled_back_and_does_it_again",
            "integration/test_ledger_races.py::test_who_sleeps_before_his_commit_hears_that_nobody_knows",
            "integration/test_ledger_races.py::test_a_snapshot_waits_for_an_older_posting_that_is_not_committed",
            "integration/test_ledger_postings.py::test_a_snapshot_that_the_postings_contradict_is_a_fault",
            "integration/test_db_faults.py::test_a_lock_of_who_sleeps_without_having_written_ends",
        ),
        lacks="on MySQL, which has no such limit: its locks stay until the worker or its connection ends",
    ),
    Scenario(
        "K18",
        "Two people use one idempotency key",
        "the second is refused: no approval is lost, and no secret is shown to another",
        tests=(
            "api/test_withdrawals.py::test_another_persons_approval_is_not_answered_by_the_first_ones",
            "api/test_idempotency.py::test_the_answer_to_a_person_is_shown_to_nobody_else",
            "api/test_idempotency.py::test_an_answer_that_an_older_version_stored_is_not_given_again_and_not_done_again",
        ),
    ),
    Scenario(
        "K19",
        "An operator says that more of a hedge was traded than was ordered",
        "refused: nothing is ordered back for real because of a slip",
        tests=("flows/test_hedges.py::test_an_unclear_order_is_not_closed_by_more_than_was_ordered",),
    ),
    Scenario(
        "K20",
        "A deposit leaves the chain while its depositor's own withdrawal waits with the money",
        "the withdrawal is cancelled and repays the debt; where it cannot be, the debt is not written off meanwhile",
        tests=(
            "flows/test_debts.py::test_a_debtors_own_withdrawal_that_has_not_left_repays_his_debt",
            "flows/test_debts.py::test_one_that_may_have_been_paid_in_a_lost_life_stays_and_keeps_his_debt_from_being_written_off",
            "ops/test_resolve.py::test_no_debt_is_written_off_while_the_debtors_own_money_waits_to_be_paid_out",
        ),
    ),
    Scenario(
        "K21",
        "A deposit comes back whose debt was written off",
        "it repays the house: one receipt is one credit",
        tests=(
            "flows/test_escrow_reorgs.py::test_a_written_off_debt_thaws",
            "flows/test_debts.py::test_what_was_written_off_is_repaid_by_its_own_deposit_whatever_else_is_owed",
            "flows/test_debts.py::test_a_deposit_whose_own_debt_was_repaid_does_not_pay_for_another_that_was_written_off",
        ),
    ),
    Scenario(
        "K22",
        "A debt ends while its account comes to owe in another asset",
        "the account stays frozen",
        tests=(
            "flows/test_debt_races.py::test_who_comes_to_owe_in_another_asset_while_a_debt_ends_stays_frozen",
            "flows/test_debt_races.py::test_who_comes_to_owe_while_an_operator_unfreezes_him_stays_frozen",
        ),
    ),
    Scenario(
        "K23",
        "An operator takes a frozen part while the debt that it pays grows",
        "what is frozen for the rest stays frozen, and its alarm open",
        tests=("flows/test_debt_races.py::test_a_part_that_pays_a_debt_which_grows_meanwhile_thaws_nothing_else",),
    ),
    Scenario(
        "K24",
        "An address of the lost life is given, to which doubtful and decided deposits came",
        "the doubtful stay held, the decided stay as decided, the rest is credited",
        tests=(
            "flows/test_given_addresses.py::test_a_deposit_whose_stories_contradict_each_other_is_not_credited_with_the_rest",
            "flows/test_given_addresses.py::test_an_address_can_be_given_of_which_the_house_has_kept_a_deposit",
            "flows/test_given_addresses.py::test_a_deposit_that_was_credited_by_hand_stays_whose_it_is",
        ),
    ),
    Scenario(
        "K25",
        "What only a person can decide comes again after it was decided",
        "the decision closes its alarm, and the next is told as the first was",
        tests=(
            "flows/test_alarms.py::test_a_contested_payment_that_is_paid_after_all_leaves_no_alarm",
            "flows/test_alarms.py::test_a_payment_that_is_contested_again_is_told_again",
            "flows/test_alarms.py::test_what_the_signer_refused_is_told_until_the_withdrawal_is_decided",
            "flows/test_alarms.py::test_an_escrow_that_a_request_moves_has_not_failed_any_more",
            "integration/test_runtime.py::test_what_was_raised_of_a_row_that_did_not_come_on_is_over_when_it_does",
        ),
    ),
    Scenario(
        "K26",
        "The answer to a swap is lost, and with it its quote",
        "who posts the reference again hears of the swap, whatever has changed since",
        tests=(
            "api/test_swaps.py::test_who_repeats_a_reference_hears_of_the_swap_whatever_has_changed_since",
            "api/test_references.py::test_a_withdrawal_in_a_batch",
        ),
    ),
    Scenario(
        "K27",
        "The lost COMMIT of an operator's booking comes through while it is made again",
        "it is booked once, and he is not told that it was refused",
        tests=(
            "integration/test_sure_bookings.py::test_all_capital_is_set_aside_once",
            "integration/test_sure_bookings.py::test_all_inventory_is_taken_back_once",
            "integration/test_sure_bookings.py::test_a_loss_of_all_that_there_is_is_booked_once",
        ),
    ),
    Scenario(
        "K28",
        "A listed token's contract tells no balance any more: closed, or broken by an upgrade",
        "its own withdrawals wait and say why; the coin and other tokens are paid, and watched by the brake",
        tests=(
            "flows/test_broken_tokens.py::test_other_assets_are_paid_out_and_it_is_once_it_answers_again",
            "flows/test_broken_tokens.py::test_the_brake_of_the_others_is_not_blind_and_the_last_comparison_keeps_its_age",
            "flows/test_broken_tokens.py::test_what_the_balance_sync_follows_is_not_forgotten_meanwhile",
            "flows/test_broken_tokens.py::test_the_coin_is_told_to_be_low_and_cold_addresses_are_looked_at",
        ),
    ),
    Scenario(
        "K29",
        "A reorganisation executes a contract's payment again, and it pays somebody else, the same in the same place",
        "the deposit is gone; to another address of ours it is another deposit",
        tests=(
            "chain/test_ethereum_scanning.py::test_a_payment_that_goes_to_somebody_else_in_its_new_block_is_gone",
            "chain/test_ethereum_scanning.py::test_a_deposit_whose_transaction_does_something_else_in_its_new_block_is_gone",
        ),
    ),
    Scenario(
        "K30",
        "Two Monero outputs under one key wait in the pool, both told in full; or the order of their blocks changes",
        "the second is for a person; a credit whose amount changes is taken back; the scan goes on",
        tests=(
            "flows/test_deposits.py::test_a_deposit_whose_amount_changes_is_for_a_person_and_stops_no_reading",
            "flows/test_deposits.py::test_a_credit_whose_amount_changes_is_taken_back_first",
        ),
        lacks="played by changed amounts of the model chain: no burnt outputs are made",
    ),
    Scenario(
        "K31",
        "A deposit that a contract paid is asked for when the node has no trace of its block any more",
        "what is gone stays gone, else the balance decides; the scan goes on",
        tests=("chain/test_ethereum_scanning.py::test_a_node_that_has_no_trace_any_more_stops_no_reading",),
    ),
    Scenario(
        "K32",
        "A withdrawal to a contract that burns gas, or needs more than a transaction may have",
        "up to a bound it is paid; above it nothing is signed, and its money goes back",
        tests=("flows/test_scenarios_ethereum.py::test_a_payee_whose_contract_burns_gas_is_paid_up_to_a_bound",),
    ),
    Scenario(
        "K33",
        "A token tells more units than any amount has, or is paid to us in such numbers",
        "it alone is not compared; snapshots of all others are taken",
        tests=(
            "flows/test_broken_tokens.py::test_other_assets_are_paid_out_and_it_is_once_it_answers_again",
            "integration/test_ledger_postings.py::test_a_sum_that_no_column_holds_keeps_its_last_snapshot",
        ),
    ),
    Scenario(
        "K34",
        "A database is restored while a listed token tells no balance",
        "the rest is compared, and a person accepts the token",
        tests=("flows/test_broken_tokens.py::test_a_restored_installation_is_compared_and_a_person_accepts_the_token",),
    ),
    Scenario(
        "K35",
        "Twenty webhook endpoints of one project are far behind",
        "those of other projects are told of their events in turn",
        tests=(
            "webhooks/test_arrivals.py::test_endpoints_that_are_far_behind_do_not_keep_those_of_another_project_waiting",
        ),
    ),
    Scenario(
        "K36",
        "An exchange tells a price or a moment that no arithmetic can take",
        "its word is refused, and the others' prices are stored and shown",
        tests=(
            "flows/test_rates.py::test_an_absurd_number_of_one_source_leaves_the_others_their_prices",
            "api/test_rates.py::test_a_source_whose_moment_nobody_can_write_is_shown_without_it",
        ),
    ),
    Scenario(
        "K37",
        "A weaker API key of the same person repeats the call that made a stronger one",
        "it is refused, and the secret in the answer is not opened",
        tests=(
            "api/test_idempotency.py::test_a_secret_is_opened_for_the_key_that_made_the_call_and_for_no_weaker_one",
            "api/test_idempotency.py::test_a_secret_is_opened_for_the_heirs_of_the_key_that_made_the_call",
        ),
    ),
    Scenario(
        "K38",
        "Dust that nobody confirms, on the address of a swap whose time is over",
        "the inventory is free at once; what comes later is the customer's",
        tests=(
            "flows/test_swap_deposits.py::test_too_little_that_is_unconfirmed_binds_no_inventory_past_the_deadline",
            "flows/test_swap_deposits.py::test_dust_that_confirms_after_the_deadline_is_the_account_s_to_spend",
            "flows/test_swap_deposits.py::test_enough_that_is_unconfirmed_at_the_deadline_is_waited_for",
        ),
    ),
    Scenario(
        "K39",
        "Somebody sends dust to a customer's address every two minutes",
        "its money is swept all the same, and every place is right to the unit",
        tests=(
            "flows/test_sweeps.py::test_dust_that_keeps_coming_in_does_not_keep_an_index_from_being_swept",
            "flows/test_sweeps.py::test_dust_that_confirms_before_the_sweep_is_mined_stays_on_the_index",
            "flows/test_sweeps.py::test_dust_that_vanishes_takes_nothing_of_the_sweep_with_it",
            "flows/test_sweeps.py::test_dust_of_a_token_does_not_hold_back_the_token",
        ),
    ),
)
