"""Scenarios of processes, the queue and the database."""

from __future__ import annotations

from tests.faults.scenario import Scenario

SCENARIOS = (
    Scenario(
        "A1",
        "The API dies before a request is committed",
        "nothing exists; the same call again makes exactly one withdrawal",
        tests=(
            "flows/test_crash.py::test_dying_at_any_point_loses_nothing_and_repeats_nothing",
            "api/test_idempotency.py::test_the_row_and_the_effect_stand_or_fall_together",
        ),
        flows=(
            "withdrawal",
            "withdrawal-cancelled",
            "withdrawal-approved",
            "eth-withdrawal",
            "xmr-withdrawal",
        ),
    ),
    Scenario(
        "A2",
        "The API dies after the commit, before its answer",
        "the same call again brings the same bytes; one withdrawal, one hold",
        tests=(
            "flows/test_crash.py::test_dying_at_any_point_loses_nothing_and_repeats_nothing",
            "api/test_idempotency.py::test_a_commit_whose_reply_was_lost_is_read_back",
            "chain/test_kill_worker.py::test_a_worker_that_dies_with_its_intent_committed_is_replaced_and_pays_once",
        ),
        flows=(
            "withdrawal",
            "withdrawal-cancelled",
            "withdrawal-approved",
            "eth-withdrawal",
            "xmr-withdrawal",
        ),
    ),
    Scenario(
        "A3",
        "The API dies after the commit, before the wake-up",
        "the sweeper finds the row; nothing depends on the queue",
        tests=(
            "ops/test_worker.py::test_withdrawals_complete_without_any_redis",
            "flows/test_crash.py::test_dying_at_any_point_loses_nothing_and_repeats_nothing",
        ),
        flows=("withdrawal",),
    ),
    Scenario(
        "A4",
        "A worker dies with a job in its hands",
        "the row is still due and is taken up by the sweeper",
        tests=(
            "integration/test_runtime.py::test_a_dead_workers_row_is_taken_over_when_its_lease_ends",
            "ops/test_worker.py::test_redis_may_be_flushed_and_killed_while_withdrawals_run",
            "integration/test_bad_days.py::test_whatever_is_killed_every_payee_is_paid_once",
        ),
        flows=("withdrawal",),
    ),
    Scenario(
        "A5",
        "A worker dies between reserving and signing",
        "the same reservation is used; no coin stays locked, no nonce is skipped",
        tests=(
            "flows/test_crash.py::test_dying_at_any_point_of_a_withdrawal_on_a_real_node",
            "flows/test_crash.py::test_dying_at_any_point_on_ethereum",
            "flows/test_crash.py::test_dying_after_the_wallets_calls_of_a_monero_withdrawal",
            "chain/test_bitcoin_wallet.py::test_locks_left_by_a_kill_while_proposing_can_be_freed",
        ),
        flows=(
            "withdrawal",
            "eth-withdrawal",
            "xmr-withdrawal",
            "token-sweep",
        ),
    ),
    Scenario(
        "A6",
        "A worker dies with a signature that is not stored",
        "the signature is lost and the payment signed anew from the same reservation; nothing has been sent",
        tests=(
            "flows/test_crash.py::test_dying_at_any_point_loses_nothing_and_repeats_nothing",
            "contract/test_chain_payments.py::test_proposing_and_signing_send_nothing",
            "chain/test_monero_sending.py::test_a_payment_that_the_wallet_forgot_in_a_kill_is_not_made_twice",
        ),
        flows=(
            "withdrawal",
            "eth-withdrawal",
            "xmr-withdrawal",
        ),
    ),
    Scenario(
        "A7",
        "A worker dies with signed bytes stored, before the intent to send",
        "nothing was sent; it may be sent later or given up",
        tests=(
            "flows/test_crash.py::test_dying_at_any_point_loses_nothing_and_repeats_nothing",
            "ops/test_resolve.py::test_a_payment_that_was_never_sent_is_let_go_without_a_word_of_the_node",
            "ops/test_resolve.py::test_a_payment_that_was_signed_and_set_aside_goes_on_with_the_same_bytes",
        ),
        flows=(
            "withdrawal",
            "eth-withdrawal",
            "xmr-withdrawal",
        ),
    ),
    Scenario(
        "A8",
        "A worker dies with the intent committed, before sending",
        "the next one sends the stored bytes; it never counts as unsent again",
        tests=(
            "chain/test_kill_worker.py::test_a_worker_that_dies_with_its_intent_committed_is_replaced_and_pays_once",
            "chain/test_kill_worker.py::test_a_worker_killed_while_the_node_is_asked_to_send_pays_once",
            "ops/test_resolve.py::test_a_payment_that_was_sent_is_not_let_go_because_it_is_in_review",
        ),
        flows=(
            "withdrawal",
            "eth-withdrawal",
            "xmr-withdrawal",
        ),
    ),
    Scenario(
        "A9",
        "A worker dies after the node took the payment",
        "the same bytes are sent again; one payment on chain",
        tests=(
            "chain/test_kill_worker.py::test_a_worker_killed_while_the_node_is_asked_to_send_pays_once",
            "contract/test_chain_payments.py::test_sending_twice_pays_once",
            "chain/test_monero_sending.py::test_a_kill_of_the_wallet_at_any_step_pays_once",
        ),
        flows=(
            "withdrawal",
            "eth-withdrawal",
            "xmr-withdrawal",
            "xmr-withdrawal-many",
        ),
    ),
    Scenario(
        "A10",
        "A worker dies between the last confirmation and the settlement",
        "the settlement is keyed: posted once",
        tests=(
            "flows/test_crash.py::test_dying_at_any_point_loses_nothing_and_repeats_nothing",
            "integration/test_ledger_guards.py::test_a_hold_ends_once",
            "integration/test_ledger_guards.py::test_a_transfer_key_stands_once",
        ),
        flows=(
            "withdrawal",
            "eth-withdrawal",
            "xmr-withdrawal",
        ),
    ),
    Scenario(
        "A11",
        "The scanner dies after reading a block, before its commit",
        "the block is read again; each receipt is credited once",
        tests=(
            "flows/test_crash_takeover.py::test_two_scanners_that_saw_the_same_block_credit_it_once",
            "flows/test_scenarios_engine.py::test_a_death_between_two_batches_of_one_block_credits_each_deposit_once",
            "flows/test_crash_takeover.py::test_an_output_on_chain_has_one_row_whoever_writes_it",
        ),
        flows=(
            "deposit",
            "deposit-pair",
            "eth-deposit",
            "token-deposit",
            "xmr-deposit",
        ),
    ),
    Scenario(
        "A12",
        "A worker dies between crediting and notifying",
        "credited once; the webhook arrives at least once, under one id",
        tests=(
            "webhooks/test_workers.py::test_a_death_around_the_post_delivers_at_least_once_under_one_id",
            "webhooks/test_workers.py::test_a_death_in_the_fan_out_neither_loses_nor_doubles",
        ),
        flows=("deposit",),
    ),
    Scenario(
        "A13",
        "Death between the two legs of a swap or a release",
        "both legs are one transaction: there or not",
        tests=(
            "flows/test_swap_balance.py::test_a_process_that_dies_between_the_legs_leaves_nothing",
            "flows/test_crash.py::test_dying_at_any_point_of_a_trade_between_balances",
            "flows/test_crash.py::test_dying_at_any_step_of_a_trade_by_deposit",
        ),
        flows=(
            "swap-balance",
            "swap-deposit",
            "swap-payout",
            "escrow-balance",
            "escrow-steps",
            "escrow-split",
        ),
    ),
    Scenario(
        "A14",
        "SIGTERM during a send, and a second one",
        "as A9",
        tests=(
            "ops/test_worker.py::test_a_stop_in_the_middle_of_work_loses_and_repeats_nothing",
            "ops/test_worker.py::test_a_second_signal_ends_the_worker_on_the_spot",
            "chain/test_kill_worker.py::test_a_stop_in_the_middle_of_a_send_pays_once",
        ),
    ),
    Scenario(
        "A15",
        "Killed out of memory with a thousand withdrawals queued",
        "each withdrawal by itself; none is lost with a batch",
        tests=(
            "flows/test_scenarios_engine.py::test_a_thousand_queued_withdrawals_outlive_their_workers",
            "integration/test_bad_days_of_three_chains.py::test_whatever_is_killed_every_payee_of_every_chain_is_paid_once",
        ),
    ),
    Scenario(
        "A16",
        "The same crash again and again at one row",
        "counted in the database, then set aside for a person with its money held; others go on",
        tests=(
            "flows/test_crash_takeover.py::test_a_row_that_kills_every_worker_is_set_aside_with_its_money_and_the_others_go_on",
            "integration/test_runtime.py::test_a_row_that_keeps_killing_its_worker_is_set_aside",
        ),
    ),
    Scenario(
        "A17",
        "New code meets rows of old code",
        "an unknown state is left alone with an alarm",
        tests=(
            "flows/test_crash_takeover.py::test_a_state_of_another_version_is_left_alone_with_an_alarm",
            "integration/test_runtime.py::test_a_state_of_another_version_is_left_alone",
            "integration/test_runtime.py::test_rows_of_another_version_do_not_starve_the_rest",
        ),
    ),
    Scenario(
        "B1",
        "Redis is flushed while jobs wait, run and are planned",
        "all rows go on; none is lost or doubled",
        tests=(
            "ops/test_worker.py::test_redis_may_be_flushed_and_killed_while_withdrawals_run",
            "integration/test_bad_days_of_three_chains.py::test_whatever_is_killed_every_payee_of_every_chain_is_paid_once",
        ),
    ),
    Scenario(
        "B2",
        "Redis comes back empty, or a second old",
        "as B1; old jobs find nothing to do",
        tests=(
            "ops/test_worker.py::test_redis_may_be_flushed_and_killed_while_withdrawals_run",
            "integration/test_bad_days.py::test_whatever_is_killed_every_payee_is_paid_once",
            "flows/test_crash_takeover.py::test_wake_ups_that_come_late_often_or_for_nothing_change_nothing",
        ),
    ),
    Scenario(
        "B3",
        "Redis is away for an hour",
        "requests are taken, health says degraded, money moves",
        tests=(
            "ops/test_worker.py::test_withdrawals_complete_without_any_redis",
            "ops/test_worker.py::test_redis_may_be_flushed_and_killed_while_withdrawals_run",
            "api/test_surface.py::test_without_redis_calls_are_still_limited",
        ),
    ),
    Scenario(
        "B4",
        "Redis is full",
        "the wake-up fails quietly; its commit stands and the row stays due",
        tests=(
            "ops/test_scenarios_redis.py::test_a_full_redis_costs_a_wake_up_and_nothing_else",
            "flows/test_trouble.py::test_a_wake_up_that_fails_leaves_its_commit_as_it_is",
        ),
    ),
    Scenario(
        "B5",
        "One job is delivered twice at once",
        "one claims the row, the other returns",
        tests=(
            "flows/test_crash_takeover.py::test_one_row_woken_in_many_places_at_once_is_advanced_by_one",
            "flows/test_crash_takeover.py::test_a_row_in_another_workers_hands_is_left_alone",
            "integration/test_runtime.py::test_eight_threads_run_a_step_once",
        ),
    ),
    Scenario(
        "B6",
        "A worker is paused, another takes over, the first goes on inside a send",
        "its write hits nothing; both sent the same bytes",
        tests=(
            "flows/test_crash_takeover.py::test_a_worker_paused_inside_a_send_does_not_take_a_settled_payment_back",
            "flows/test_crash_takeover.py::test_a_worker_paused_while_it_signs_finds_its_row_taken_and_writes_nothing",
            "integration/test_runtime.py::test_a_paused_workers_write_hits_nothing",
            "integration/test_bad_days.py::test_whatever_is_killed_every_payee_is_paid_once",
        ),
    ),
    Scenario(
        "B7",
        "A job runs again a day later, or an operator requeues all",
        "nothing to do on a row that has ended",
        tests=("flows/test_crash_takeover.py::test_wake_ups_that_come_late_often_or_for_nothing_change_nothing",),
    ),
    Scenario(
        "B8",
        "A failed job keeps its id taken",
        "wake-ups have no ids of their own; progress goes on",
        tests=(
            "unit/test_devstack_layout.py::test_only_one_file_puts_anything_on_a_queue",
            "flows/test_crash_takeover.py::test_one_row_woken_in_many_places_at_once_is_advanced_by_one",
            "ops/test_worker.py::test_withdrawals_complete_without_any_redis",
        ),
    ),
    Scenario(
        "B9",
        "The scheduler is dead",
        "what is due says so in the database, and the sweeper takes it up",
        tests=(
            "ops/test_worker.py::test_withdrawals_complete_without_any_redis",
            "ops/test_scheduler.py::test_a_standby_takes_over_from_a_killed_one",
        ),
    ),
    Scenario(
        "B10",
        "Jobs come out of order, or before their commit is seen",
        "they find no row, or an earlier state, and return",
        tests=(
            "flows/test_crash_takeover.py::test_wake_ups_that_come_late_often_or_for_nothing_change_nothing",
            "integration/test_runtime.py::test_an_unknown_row_is_nothing_to_do",
            "webhooks/test_arrivals.py::test_what_is_woken_too_early_waits_for_the_one_before",
        ),
    ),
    Scenario(
        "B11",
        "Somebody writes jobs into Redis",
        "only a wake-up of a known kind runs; nothing is payable without a committed row that the signer accepts",
        tests=(
            "ops/test_foreign_jobs.py::test_a_foreign_job_is_dropped",
            "ops/test_foreign_jobs.py::test_nothing_is_unpickled",
            "ops/test_foreign_jobs.py::test_no_webhook_of_a_job_is_called",
            "ops/test_foreign_jobs.py::test_commands_over_redis_are_not_obeyed",
            "flows/test_payments.py::test_a_row_changed_by_hand_is_never_signed_and_stops_its_asset",
        ),
    ),
    Scenario(
        "C1",
        "The connection is lost during COMMIT",
        "read back by the natural key before anything is tried again",
        tests=(
            "integration/test_db_faults.py::test_a_lost_commit_is_told_and_its_repeat_has_one_effect",
            "integration/test_db_faults.py::test_a_withdrawal_whose_commit_was_lost_is_found_by_its_reference",
            "api/test_idempotency.py::test_a_commit_whose_reply_was_lost_is_read_back",
        ),
    ),
    Scenario(
        "C2",
        "Deadlock, or a lock waited for too long",
        "the whole unit is rolled back and run again",
        tests=(
            "integration/test_db_faults.py::test_a_deadlock_is_run_again_whole",
            "integration/test_db_faults.py::test_a_lock_wait_that_ran_out_is_run_again_whole",
            "integration/test_db_faults.py::test_endless_deadlocks_are_told_after_some_tries",
        ),
    ),
    Scenario(
        "C3",
        "The database is killed under load, or loses power",
        "every acknowledged commit is there",
        tests=(
            "integration/test_db_faults.py::test_mariadb_killed_under_load_keeps_what_it_acknowledged",
            "integration/test_db_faults.py::test_writers_killed_under_load_leave_whole_transfers",
            "integration/test_db_migrations.py::test_mariadb_that_could_lose_a_commit_is_refused",
            "integration/test_db_migrations.py::test_sqlite_that_could_lose_a_commit_is_refused",
        ),
        lacks=(
            "the process is killed, not the power: a lost page cache is not played, the settings that guard "
            "against it are demanded at the start"
        ),
    ),
    Scenario(
        "C4",
        "The disk is full or read only",
        "the write fails before anything is sent",
        tests=(
            "flows/test_scenarios_engine.py::test_what_cannot_be_written_is_not_sent",
            "flows/test_disk.py::test_claims_whose_outcome_cannot_be_written_are_no_crashes",
            "integration/test_db_faults.py::test_a_sqlite_disk_that_takes_nothing_is_told_at_once",
            "integration/test_db_faults.py::test_a_mariadb_that_is_read_only_is_told_at_once",
            "integration/test_db_faults.py::test_the_sweeper_waits_for_a_disk_that_takes_nothing",
        ),
    ),
    Scenario(
        "C5",
        "SQLite is busy",
        "bounded waiting, nothing partial",
        tests=(
            "integration/test_db_faults.py::test_sqlite_waits_for_another_writer",
            "integration/test_db_faults.py::test_sqlite_that_stays_busy_is_told_and_reads_go_on",
        ),
    ),
    Scenario(
        "C6",
        "Failover to a replica without the last commits",
        "the chain is ahead of the database: withdrawals stop, no coin or nonce is used again",
        tests=(
            "flows/test_crash_old_database.py::test_a_hot_key_that_was_used_elsewhere_signs_nothing_more",
            "flows/test_outgoing.py::test_a_payment_that_nobody_here_made_stops_signing_while_it_still_waits_in_the_pool",
            "contract/test_outgoing.py::test_what_the_keys_have_sent_is_told_once_it_is_in_a_block",
            "flows/test_tampering.py::test_a_database_from_before_the_coins_were_chosen_pays_nobody_twice",
            "contract/test_account_payments.py::test_a_proposal_tells_what_the_chain_and_the_pool_show_as_used",
            "unit/test_signer.py::test_the_same_payment_from_other_coins_is_refused",
            "flows/test_yesterdays_database.py::test_a_coin_that_was_signed_away_is_not_signed_away_again",
            "unit/test_signer.py::test_a_lowered_nonce_is_refused",
        ),
        lacks="no replica is failed over to in a test; a database that lost commits is made by hand",
    ),
    Scenario(
        "C7",
        "Last night's backup is restored",
        "quarantine until compared with the chains; nothing paid before an operator confirms",
        tests=(
            "flows/test_tampering.py::test_a_database_from_before_the_coins_were_chosen_pays_nobody_twice",
            "flows/test_yesterdays_database.py::test_a_shop_that_repeats_the_call_that_a_restored_database_lost_is_not_paid_again",
            "flows/test_yesterdays_database.py::test_a_withdrawal_that_a_restored_database_has_unpaid_is_not_paid_again",
            "flows/test_yesterdays_database.py::test_bytes_that_were_let_go_are_not_sent_by_an_older_database",
            "integration/test_restore_drill.py::test_after_everything_was_lost_nobody_is_paid_twice_and_nothing_is_lost",
            "ops/test_backup.py::test_what_is_restored_is_in_quarantine_from_its_first_moment",
            "ops/test_backup_drill.py::test_a_fee_that_was_raised_since_is_known_again",
            "ops/test_backup_drill.py::test_after_a_restore_nobody_is_paid_twice",
            "ops/test_backup_drill.py::test_an_address_of_the_lost_life_is_given_to_nobody_else",
            "ops/test_backup_drill.py::test_in_the_end_every_book_is_right_again",
            "ops/test_backup_drill.py::test_money_that_came_to_addresses_given_out_since_is_credited",
            "ops/test_backup_drill.py::test_what_was_committed_but_never_seen_stays_here_until_the_quarantine_is_lifted",
            "unit/test_signer.py::test_one_withdrawal_is_not_signed_in_two_payments",
            "unit/test_signer.py::test_the_same_payment_to_others_is_refused",
        ),
    ),
    Scenario(
        "C8",
        "Two engines on one database, or one engine on two",
        "leases keep the first apart; in the second case the later one signs nothing",
        tests=(
            "chain/test_kill_worker.py::test_two_workers_at_once_pay_each_withdrawal_once",
            "ops/test_worker.py::test_two_workers_and_two_schedulers_pay_once",
            "integration/test_runtime.py::test_one_wallets_exclusive_steps_never_overlap",
            "integration/test_runtime.py::test_a_lease_is_one_holders_until_it_ends",
            "flows/test_installations.py::test_a_second_database_on_the_same_wallet_is_refused_and_binds_nothing",
            "flows/test_installations.py::test_an_installation_that_takes_over_stops_the_one_before",
            "contract/test_outgoing.py::test_the_mark_survives_a_restart",
            "flows/test_yesterdays_database.py::test_another_installations_record_signs_nothing_here",
            "flows/test_yesterdays_database.py::test_of_two_workers_with_copies_of_the_record_one_signs_no_more",
        ),
        lacks=(
            "on Ethereum no node keeps a wallet that could carry a mark: a second database that has a signer's record "
            "of its own is stopped by the nonce (J3), as the first one is"
        ),
    ),
    Scenario(
        "C9",
        "A migration is cut short",
        "the engine refuses to start",
        tests=(
            "integration/test_scenarios_database.py::test_a_migration_that_was_cut_short_is_no_database_to_work_on",
            "integration/test_db_migrations.py::test_another_schema_version_is_refused",
        ),
    ),
    Scenario(
        "C10",
        "Numbers beyond 64 bits",
        "stored exactly or refused; never clamped, never a float",
        tests=(
            "integration/test_ledger_units.py::test_every_size_and_sign_comes_back_exactly_and_in_order",
            "integration/test_ledger_units.py::test_more_than_38_digits_are_refused",
            "unit/test_money.py::test_more_than_can_exist_is_refused",
            "integration/test_ledger_guards.py::test_sqlite_refuses_ill_formed_amounts",
            "integration/test_ledger_units.py::test_mariadb_refuses_digits_that_do_not_fit",
        ),
    ),
    Scenario(
        "C11",
        "A balance changed silently, or by hand",
        "the nightly sum finds it: alarm, and withdrawals of everything pause",
        tests=(
            "flows/test_scenarios_engine.py::test_a_balance_changed_by_hand_stops_every_asset",
            "integration/test_ledger_postings.py::test_the_books_name_what_is_wrong",
            "ops/test_commands.py::test_the_audit_log_shows_a_change_by_hand",
        ),
    ),
)
