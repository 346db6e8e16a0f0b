"""Scenarios of concurrency, clocks and operators."""

from __future__ import annotations

from tests.faults.scenario import Scenario

SCENARIOS = (
    Scenario(
        "H1",
        "Two workers claim one withdrawal",
        "one does",
        tests=(
            "chain/test_kill_worker.py::test_two_workers_at_once_pay_each_withdrawal_once",
            "flows/test_crash_takeover.py::test_one_row_woken_in_many_places_at_once_is_advanced_by_one",
            "integration/test_runtime.py::test_eight_threads_run_a_step_once",
        ),
    ),
    Scenario(
        "H2",
        "Two withdrawals want the same coin or nonce",
        "one live owner; one signer of a wallet at a time",
        tests=(
            "integration/test_ledger_guards.py::test_a_resource_has_one_live_owner",
            "flows/test_crash_takeover.py::test_a_wallet_has_one_signer_at_a_time",
            "contract/test_account_payments.py::test_payments_in_a_row_take_nonces_in_a_row",
            "chain/test_kill_worker.py::test_two_workers_at_once_pay_each_withdrawal_once",
        ),
    ),
    Scenario(
        "H3",
        "Locks in opposite orders",
        "one order for all; no posting is lost",
        tests=(
            "integration/test_ledger_races.py::test_pairs_paying_each_other_never_wait_for_ever",
            "integration/test_db_faults.py::test_a_deadlock_is_run_again_whole",
            "flows/test_swap_races.py::test_opposite_swaps_at_once_all_complete_and_lose_no_posting",
            "flows/test_escrow_races.py::test_escrows_in_both_directions_do_not_wait_for_each_other",
        ),
    ),
    Scenario(
        "H4",
        "Read, change, write under weak isolation",
        "no update is lost",
        tests=(
            "integration/test_bank.py::test_in_every_look_at_a_troubled_bank_the_money_is_all_there",
            "integration/test_ledger_races.py::test_twenty_clients_never_make_or_lose_money",
            "integration/test_ledger_races.py::test_a_hot_account_never_errors_out",
            "integration/test_ledger_races.py::test_a_snapshot_does_not_step_over_an_open_transaction",
        ),
    ),
    Scenario(
        "H5",
        "One account in every transfer",
        "slower, never an error",
        tests=("integration/test_ledger_races.py::test_a_hot_account_never_errors_out",),
    ),
    Scenario(
        "H6",
        "Sweeper, job and operator at one row",
        "one wins",
        tests=(
            "flows/test_crash_takeover.py::test_one_row_woken_in_many_places_at_once_is_advanced_by_one",
            "flows/test_crash_takeover.py::test_a_row_in_another_workers_hands_is_left_alone",
            "ops/test_resolve.py::test_a_deposit_in_a_workers_hands_is_left_alone",
            "integration/test_ledger_races.py::test_cancelling_and_joining_a_payment_exclude_each_other",
        ),
    ),
    Scenario(
        "H7",
        "Two scanners read one block",
        "the second writes nothing",
        tests=(
            "flows/test_crash_takeover.py::test_two_scanners_that_saw_the_same_block_credit_it_once",
            "flows/test_crash_takeover.py::test_an_output_on_chain_has_one_row_whoever_writes_it",
        ),
    ),
    Scenario(
        "H8",
        "A forked child shares its parent's connection",
        "nothing forks once it is connected; node clients and the database are told apart all the same",
        tests=(
            "unit/test_scenarios.py::test_nothing_of_the_product_forks",
            "integration/test_scenarios_database.py::test_a_forked_database_has_connections_of_its_own",
            "unit/test_bitcoin_client.py::test_a_forked_process_has_its_own_connection_and_leaves_its_parents_alone",
            "unit/test_monero_client.py::test_a_forked_process_has_its_own_connection_and_leaves_its_parents_alone",
            "unit/test_ethereum_client.py::test_each_thread_and_each_fork_has_a_connection_of_its_own",
        ),
    ),
    Scenario(
        "I-1",
        "The clock steps, summer time, leap seconds",
        "leases and expiries are by the database's clock; nothing is released twice",
        tests=(
            "integration/test_bank.py::test_in_every_look_at_a_troubled_bank_the_money_is_all_there",
            "flows/test_scenarios_engine.py::test_a_clock_that_steps_pays_and_releases_once",
            "flows/test_swap_balance.py::test_an_expired_quote_never_executes",
            "flows/test_escrows.py::test_its_deadline_ends_it_by_itself",
        ),
        lacks="processes are told another time, and MariaDB's sessions another still; the kernel's clock is not set",
    ),
    Scenario(
        "I-2",
        "A worker's clock is ahead",
        "it takes no live lease",
        tests=("integration/test_runtime.py::test_a_worker_whose_clock_runs_ahead_takes_nothing",),
        lacks="on MariaDB; SQLite's clock is its host's",
    ),
    Scenario(
        "I-3",
        "Block times ahead or behind",
        "heights decide, never times",
        tests=(
            "unit/test_scenarios.py::test_what_chains_tell_of_money_has_no_times",
            "flows/test_deposits.py::test_confirmations_follow_the_amount_and_the_emergency_floor",
        ),
    ),
    Scenario(
        "I-4",
        "A key is forgotten while its client tries again",
        "the withdrawal's own reference is unique for ever",
        tests=(
            "api/test_scenarios.py::test_a_call_whose_key_was_forgotten_still_has_one_effect",
            "integration/test_ledger_guards.py::test_a_reference_is_one_withdrawals_for_ever",
            "api/test_withdrawals.py::test_a_reference_is_used_once_for_ever",
        ),
    ),
    Scenario(
        "I-5",
        "A hold is to end while the intent commits",
        "one wins",
        tests=(
            "integration/test_ledger_races.py::test_cancelling_and_joining_a_payment_exclude_each_other",
            "flows/test_tampering.py::test_a_withdrawal_whose_money_went_back_is_never_signed",
        ),
    ),
    Scenario(
        "J1",
        "A unit error in a bulk credit",
        "refused: more than there is, more than a cap, or by one person",
        tests=(
            "ops/test_resolve.py::test_a_held_deposit_is_given_to_a_customer_once",
            "flows/test_inventory.py::test_more_than_the_house_has_is_refused_both_ways",
            "flows/test_sync.py::test_an_operator_gives_a_surplus_to_the_customer_whose_address_it_is",
        ),
        lacks=(
            "there is no bulk credit, nor any that names an amount: an operator only gives away a deposit that "
            "is there, once"
        ),
    ),
    Scenario(
        "J2",
        "An operator pays a stuck withdrawal by hand",
        "signing stops at once, reconciliation pauses the asset; our own retry has the same inputs",
        tests=(
            "ops/test_brake_commands.py::test_a_payment_by_hand_is_explained_accepted_and_its_loss_let_stand",
            "flows/test_outgoing.py::test_what_takes_the_coins_of_a_payment_of_ours_is_named_as_that",
            "flows/test_scenarios_engine.py::test_a_payment_by_hand_stops_its_asset",
            "flows/test_payments.py::test_inputs_spent_by_a_stranger_end_in_review_and_never_in_a_second_payment",
            "ops/test_resolve.py::test_recheck_sends_the_same_bytes_again",
        ),
    ),
    Scenario(
        "J3",
        "The hot key is used elsewhere",
        "the chain is ahead: signing stops",
        tests=(
            "flows/test_outgoing.py::test_a_nonce_used_elsewhere_stops_signing_before_anybody_asks_for_one",
            "flows/test_outgoing.py::test_a_payment_that_nobody_here_made_stops_signing_while_it_still_waits_in_the_pool",
            "flows/test_crash_old_database.py::test_a_hot_key_that_was_used_elsewhere_signs_nothing_more",
            "chain/test_ethereum_wallet.py::test_a_nonce_used_elsewhere_is_found_with_its_depth_and_its_user",
            "chain/test_flows.py::test_the_hot_key_used_elsewhere_ends_in_review_not_in_a_second_payment",
            "flows/test_payments.py::test_inputs_spent_by_a_stranger_end_in_review_and_never_in_a_second_payment",
        ),
    ),
    Scenario(
        "J4",
        "Wallet commands by hand: flushed pools, abandoned payments, another wallet file",
        "states come from the chain; nothing is rebuilt by itself",
        tests=(
            "chain/test_bitcoin_wallet.py::test_a_transaction_abandoned_by_hand_is_gone_until_it_is_sent_again",
            "chain/test_monero_sending.py::test_the_wallets_own_failed_does_not_count",
            "chain/test_monero_wallet.py::test_another_wallet_in_wallet_rpc_is_never_taken_for_ours",
            "chain/test_monero_wallet.py::test_a_wallet_file_restored_from_an_older_copy_gets_its_addresses_back",
        ),
    ),
    Scenario(
        "J5",
        "Wrong confirmations, fee ceiling or chain in the settings",
        "bounds at the start; a change is an audited row",
        tests=(
            "ops/test_commands.py::test_policy_is_checked_versioned_and_audited",
            "ops/test_commands.py::test_wrong_settings_are_named",
            "ops/test_worker.py::test_another_network_ends_the_worker_with_a_clear_message",
            "unit/test_settings.py::test_a_cold_address_of_another_chain_stops_the_start",
        ),
        lacks="a number within its bounds may still be unwise: one confirmation is accepted",
    ),
    Scenario(
        "J6",
        "SQL by hand",
        "triggers refuse what is history; sums and chains of hashes find the rest and pause",
        tests=(
            "integration/test_ledger_guards.py::test_history_is_append_only",
            "flows/test_payments.py::test_a_row_changed_by_hand_is_never_signed_and_stops_its_asset",
            "flows/test_scenarios_engine.py::test_a_balance_changed_by_hand_stops_every_asset",
            "ops/test_commands.py::test_the_audit_log_shows_a_change_by_hand",
            "ops/test_histories.py::test_a_changed_column_of_a_row_is_found_and_the_row_named",
            "flows/test_yesterdays_database.py::test_rows_that_say_unsent_of_what_the_record_knows_as_sent_let_nothing_go",
            "flows/test_yesterdays_database.py::test_other_bytes_than_those_that_were_signed_are_not_sent",
            "flows/test_tampering.py::test_a_swap_pays_out_no_more_than_it_was_executed_for",
        ),
    ),
    Scenario(
        "J7",
        "Old keys, events or Redis are purged",
        "a withdrawal's own key still makes it one",
        tests=(
            "api/test_scenarios.py::test_a_call_whose_key_was_forgotten_still_has_one_effect",
            "integration/test_ledger_races.py::test_one_reference_from_many_clients_is_one_withdrawal",
            "ops/test_worker.py::test_redis_may_be_flushed_and_killed_while_withdrawals_run",
        ),
    ),
    Scenario(
        "J8",
        "Restarts in a loop, everything requeued",
        "as B7",
        tests=(
            "flows/test_crash_takeover.py::test_wake_ups_that_come_late_often_or_for_nothing_change_nothing",
            "ops/test_worker.py::test_a_stop_in_the_middle_of_work_loses_and_repeats_nothing",
            "integration/test_bad_days_of_three_chains.py::test_whatever_is_killed_every_payee_of_every_chain_is_paid_once",
        ),
    ),
    Scenario(
        "J9",
        "A refill from cold comes in",
        "the treasury's, no customer's",
        tests=(
            "flows/test_deposits.py::test_a_refill_of_the_treasury_is_no_customers_deposit",
            "flows/test_treasury.py::test_capital_and_a_refill_are_told_apart",
            "flows/test_treasury.py::test_a_refill_on_ethereum_comes_back_from_cold_and_is_collected",
        ),
    ),
    Scenario(
        "J10",
        "Node and database are restored to different times",
        "as C7",
        tests=(
            "chain/test_monero_reorg.py::test_a_cursor_whose_block_the_node_never_had_is_refused_and_a_later_one_is_waited_for",
            "flows/test_deposits.py::test_a_node_that_lost_its_last_blocks_takes_nothing_back",
            "flows/test_tampering.py::test_a_database_from_before_the_coins_were_chosen_pays_nobody_twice",
            "ops/test_backup.py::test_a_log_that_an_old_database_left_behind_is_not_read_into_the_new_one",
            "ops/test_backup.py::test_a_signers_record_that_is_older_than_the_backup_is_refused",
            "ops/test_backup_drill.py::test_a_database_that_came_back_in_another_way_is_put_into_quarantine_by_hand",
            "ops/test_backup_drill.py::test_a_node_that_knows_less_than_the_backup_is_waited_for",
            "ops/test_backup_drill.py::test_a_wallet_that_is_older_than_the_database_finds_all_that_is_its_own",
        ),
    ),
)
