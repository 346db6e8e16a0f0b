"""Scenarios of nodes, wallets and what chains do."""

from __future__ import annotations

from tests.faults.scenario import Scenario

SCENARIOS = (
    Scenario(
        "D1",
        "No answer to a send that the node did accept",
        "maybe sent; the same bytes again; one payment",
        tests=(
            "contract/test_chain_payments.py::test_a_lost_reply_is_settled_by_sending_the_same_bytes",
            "chain/test_kill_worker.py::test_a_lost_reply_to_a_send_is_sent_again_and_pays_once",
            "flows/test_payments.py::test_whatever_the_node_says_to_a_send_one_payment_arrives",
            "chain/test_monero_sending.py::test_a_lost_reply_of_the_wallet_is_settled_by_sending_again",
        ),
    ),
    Scenario(
        "D2",
        "No answer to a send that the node did not accept",
        "the same bytes again; one payment",
        tests=(
            "contract/test_chain_payments.py::test_a_lost_reply_is_settled_by_sending_the_same_bytes",
            "chain/test_kill_worker.py::test_a_lost_reply_to_a_send_is_sent_again_and_pays_once",
            "flows/test_payments.py::test_whatever_the_node_says_to_a_send_one_payment_arrives",
        ),
    ),
    Scenario(
        "D3",
        "The node says success, and its pool has nothing",
        "not seen: sent again; one payment",
        tests=(
            "flows/test_payments.py::test_whatever_the_node_says_to_a_send_one_payment_arrives",
            "flows/test_payments.py::test_a_vanished_payment_is_sent_again_from_the_stored_bytes",
            "chain/test_ethereum_wallet.py::test_a_restarted_geth_has_lost_what_waited_and_takes_it_again",
        ),
        flows=(
            "payment-vanished",
            "eth-payment-vanished",
            "xmr-payment-vanished",
        ),
    ),
    Scenario(
        "D4",
        "The node restarts with an empty pool, or drops what pays little",
        "the stored bytes again; the hold stays",
        tests=(
            "chain/test_flows.py::test_a_payment_that_the_pool_forgot_is_sent_again",
            "chain/test_bitcoin_wallet.py::test_a_restart_with_an_empty_pool_leaves_a_payment_to_be_sent_again",
            "chain/test_ethereum_wallet.py::test_a_restart_with_an_empty_pool_leaves_payments_to_be_sent_again",
            "contract/test_chain_payments.py::test_a_payment_that_vanished_from_the_pool_is_sent_again",
        ),
        flows=(
            "payment-vanished",
            "eth-payment-vanished",
            "xmr-payment-vanished",
        ),
    ),
    Scenario(
        "D5",
        "The node is syncing, behind, stale or alone",
        "nothing credited, buried or reserved; the reason is shown",
        tests=(
            "flows/test_deposits.py::test_a_node_that_is_not_ready_credits_nothing_and_says_why",
            "flows/test_scenarios_engine.py::test_a_node_that_is_not_ready_chooses_no_coins_and_buries_no_payment",
            "unit/test_bitcoin_state.py::test_a_node_whose_view_is_old_or_unclear_is_not_relied_on",
            "unit/test_ethereum_reading.py::test_a_node_that_cannot_be_relied_on_says_why",
            "unit/test_monero_state.py::test_what_is_wrong_is_named",
            "flows/test_deposits.py::test_a_node_that_lost_its_last_blocks_takes_nothing_back",
        ),
    ),
    Scenario(
        "D6",
        "The node is of another network",
        "refused at the start",
        tests=(
            "chain/test_bitcoin_connection.py::test_a_node_on_another_chain_is_refused",
            "chain/test_ethereum_wallet.py::test_a_node_of_another_chain_is_refused",
            "chain/test_monero_wallet.py::test_a_node_of_another_network_is_refused",
            "ops/test_worker.py::test_another_network_ends_the_worker_with_a_clear_message",
            "flows/test_deposits.py::test_a_node_exchanged_for_one_of_another_chain_stops_its_chain",
        ),
    ),
    Scenario(
        "D7",
        "The Monero wallet was restarted, is closed, or has no daemon",
        "tried again later; a balance of zero is no fact",
        tests=(
            "chain/test_monero_wallet.py::test_a_restarted_wallet_rpc_gets_its_wallet_opened",
            "chain/test_monero_wallet.py::test_another_wallet_in_wallet_rpc_is_never_taken_for_ours",
            "contract/test_chain_wallet.py::test_a_node_that_does_not_answer_is_told_and_nothing_is_taken_for_zero",
            "chain/test_monero_wallet.py::test_a_wallet_far_behind_says_so_and_is_made_to_catch_up",
            "chain/test_monero_wallet.py::test_a_wallet_rpc_that_hangs_ends_in_a_time_limit_and_can_be_killed",
        ),
    ),
    Scenario(
        "D8",
        "The wallet calls a payment failed, and later it is mined",
        "never a second payment because of it; counted once",
        tests=(
            "chain/test_monero_sending.py::test_the_wallets_own_failed_does_not_count",
            "chain/test_monero_rebuild.py::test_a_payment_that_is_on_its_way_is_not_rebuilt",
        ),
        flows=("xmr-payment-vanished",),
        lacks="whether the wallet does call it failed is left to the wallet: its word is asked for nowhere",
    ),
    Scenario(
        "D9",
        "The wallet answers with an error after the daemon took it",
        "asked for by its id and its key images: sent",
        tests=(
            "chain/test_monero_sending.py::test_an_error_of_the_wallet_after_the_daemon_took_it_is_no_failure",
            "unit/test_monero_sending.py::test_a_refusal_of_what_the_daemon_has_is_no_refusal",
        ),
        flows=("xmr-withdrawal",),
    ),
    Scenario(
        "D10",
        "The wallet file is lost, and made again from its seed",
        "bytes, keys and key images are in the database; the stored payment goes to the daemon itself",
        tests=(
            "chain/test_monero_sending.py::test_a_wallet_restored_from_its_seed_sends_what_the_lost_one_prepared",
            "chain/test_monero_wallet.py::test_a_wallet_file_restored_from_an_older_copy_gets_its_addresses_back",
            "unit/test_monero_verify.py::test_a_prepared_transaction_survives_being_stored",
        ),
        lacks="a proof of payment for a customer is possible (the transaction's key is stored) but no test makes one",
    ),
    Scenario(
        "D11",
        "A restart of the node forgets which coins are locked",
        "the database knows whose they are, and keeps them out",
        tests=(
            "flows/test_crash_takeover.py::test_coins_of_an_unsent_payment_are_left_alone_though_the_node_forgot_its_locks",
            "contract/test_chain_wallet.py::test_held_coins_are_left_alone_also_after_a_restart",
            "chain/test_bitcoin_wallet.py::test_watched_addresses_and_holds_survive_a_kill",
            "integration/test_ledger_guards.py::test_a_resource_has_one_live_owner",
        ),
    ),
    Scenario(
        "D12",
        "Two nodes disagree about a block",
        "the lesser number of confirmations counts",
        lacks="one node serves a chain: there is nothing to compare with yet",
    ),
    Scenario(
        "D13",
        "A lying node shows a deposit that is not there",
        "large credits need a second source",
        lacks=(
            "one node serves a chain: a second source is not built yet. Deposits above a bound wait for more "
            "confirmations"
        ),
    ),
    Scenario(
        "D14",
        "The node was upgraded, and a field has another name or type",
        "the reply is refused, nothing is credited or taken for zero, an alarm is raised",
        tests=(
            "flows/test_scenarios_engine.py::test_a_reply_that_cannot_be_read_credits_nothing_and_is_told",
            "unit/test_bitcoin_reply.py::test_a_missing_or_mistyped_field_raises_and_is_named",
            "unit/test_bitcoin_state.py::test_a_renamed_field_is_an_error_and_no_free_transaction",
            "unit/test_ethereum_reading.py::test_a_block_without_a_field_is_an_error",
            "unit/test_ethereum_reading.py::test_a_receipt_without_a_field_is_an_error",
            "unit/test_monero_state.py::test_a_deposit_with_a_field_missing_is_an_error_and_none_is_skipped",
        ),
    ),
    Scenario(
        "D15",
        "The hot wallet is empty, or all of it is locked or unconfirmed",
        "the withdrawal waits with its reason; no part of it, no second attempt",
        tests=(
            "flows/test_payments.py::test_an_oversize_withdrawal_steps_aside_and_goes_when_coins_come",
            "chain/test_monero_spending.py::test_locked_and_short_are_told_apart_with_the_time",
            "flows/test_waits.py::test_the_wait_for_locked_money_is_told",
            "flows/test_hot.py::test_too_little_hot_money_raises_an_alarm_until_there_is_more",
        ),
        flows=("payment-declined",),
        lacks="not first come, first served: what is too large steps aside for what can leave, by decision",
    ),
    Scenario(
        "E1",
        "A reorganisation takes a deposit before it was credited",
        "it vanishes without a credit; mined again, it is credited once",
        tests=(
            "flows/test_deposits.py::test_a_reorg_before_credit_undoes_silently",
            "contract/test_chain_wallet.py::test_a_reorganised_deposit_waits_again_and_keeps_its_key",
            "flows/test_reorgs.py::test_a_deposit_that_leaves_its_block_while_it_is_judged_is_not_credited",
        ),
    ),
    Scenario(
        "E2",
        "A reorganisation takes a deposit that was credited, and spent",
        "reversed; what is missing is a debt, the account frozen; never a negative balance, never silent",
        tests=(
            "flows/test_deposits.py::test_a_reorg_after_the_money_was_spent_leaves_a_debt_that_its_return_repays",
            "chain/test_flows.py::test_a_deposit_reorganised_out_and_double_spent_after_credit_is_taken_back",
            "chain/test_monero_reorg.py::test_a_deposit_that_a_reorganisation_removed_is_gone",
            "flows/test_escrow_reorgs.py::test_what_the_vendor_has_not_spent_is_frozen_until_the_deposit_is_back",
            "flows/test_swap_reorgs.py::test_after_completion_the_account_owes_and_the_swap_stays_completed",
            "flows/test_reorg_dependants.py::test_it_is_followed_through_many_hands_and_only_what_is_not_spent_is_frozen",
            "flows/test_reorg_dependants.py::test_an_escrow_that_somebody_else_funded_with_it_is_not_released",
            "flows/test_reorg_dependants.py::test_a_signed_payment_of_which_nothing_is_out_waits_for_the_deposit",
            "chain/test_escrow_reorg.py::test_explain_follows_a_vanished_deposit_through_an_escrow",
        ),
        flows=(
            "deposit-reorg-spent",
            "eth-deposit-reorg-spent",
            "escrow-released-frozen",
            "swap-reorged",
        ),
    ),
    Scenario(
        "E3",
        "A reorganised deposit is mined again",
        "exactly one credit stands",
        tests=(
            "chain/test_flows.py::test_a_reorganised_deposit_that_is_mined_again_is_credited_once",
            "flows/test_deposits.py::test_a_reorg_after_credit_reverses_and_the_return_credits_once",
            "chain/test_monero_reorg.py::test_a_deposit_put_back_into_the_pool_waits_and_is_mined_again_under_its_key",
            "chain/test_ethereum_scanning.py::test_a_token_deposit_keeps_its_key_in_another_block_behind_other_events",
        ),
        flows=(
            "deposit-reorg-back",
            "eth-deposit-reorged",
            "xmr-deposit-reorged",
        ),
    ),
    Scenario(
        "E4",
        "A deposit is replaced before it is confirmed",
        "the old one is dead, the new one counts if it pays us; nothing unconfirmed is spendable",
        tests=(
            "flows/test_deposits.py::test_a_replaced_payment_is_never_credited_and_its_replacement_is",
            "contract/test_chain_wallet.py::test_a_replaced_deposit_is_gone_and_its_replacement_counts",
            "chain/test_flows.py::test_a_replaced_deposit_leaves_nothing_behind",
        ),
    ),
    Scenario(
        "E5",
        "A transaction's id is changed by others",
        "ours cannot be: every input is segwit; a deposit is followed by its output, as E4",
        tests=(
            "chain/test_bitcoin_forgery.py::test_an_input_that_lets_others_change_the_txid_is_refused",
            "chain/test_bitcoin_wallet.py::test_change_is_native_segwit_whoever_is_paid_and_other_coins_are_never_inputs",
            "flows/test_deposits.py::test_a_replaced_payment_is_never_credited_and_its_replacement_is",
        ),
    ),
    Scenario(
        "E6",
        "Our payment is stuck at a low fee",
        "a replacement from the same inputs; whichever is mined settles once",
        tests=(
            "flows/test_payments.py::test_a_bump_pays_the_same_payees_from_the_same_inputs_and_settles_once",
            "flows/test_payments.py::test_an_old_payment_is_bumped_by_itself_below_the_ceiling",
            "contract/test_chain_payments.py::test_a_repriced_payment_pays_the_same_from_the_same_resources",
            "chain/test_flows.py::test_deposit_batch_bump_and_settlement_add_up_to_the_satoshi",
        ),
        flows=(
            "payment-bumped",
            "eth-payment-bumped",
        ),
    ),
    Scenario(
        "E7",
        "The original is mined after all",
        "settled with it and its own fee",
        tests=(
            "flows/test_payments.py::test_the_original_may_confirm_after_a_bump_and_settles_with_its_own_fee",
            "contract/test_chain_payments.py::test_the_original_may_confirm_after_all",
        ),
    ),
    Scenario(
        "E8",
        "Two payments of ours want one coin",
        "refused by the database; a loser on chain goes to a person and is not rebuilt",
        tests=(
            "integration/test_ledger_guards.py::test_a_resource_has_one_live_owner",
            "flows/test_bumps.py::test_change_of_a_payment_that_was_just_bumped_is_not_spent",
            "chain/test_monero_sending.py::test_the_loser_of_two_that_share_an_output_is_conflicted",
            "flows/test_payments.py::test_inputs_spent_by_a_stranger_end_in_review_and_never_in_a_second_payment",
        ),
    ),
    Scenario(
        "E9",
        "Our payment is reorganised out after it was settled",
        "back to sent, the same bytes again, settled anew; balanced entries",
        tests=(
            "flows/test_payments.py::test_a_payment_reorganised_after_settlement_settles_again_without_a_second_payment",
            "chain/test_flows.py::test_a_settled_payment_that_a_reorganisation_takes_is_settled_again",
            "chain/test_ethereum_wallet.py::test_a_payment_that_a_reorganisation_took_out_is_sent_again_as_it_was",
            "flows/test_sweeps.py::test_a_sweep_that_left_the_chain_after_it_was_settled_comes_back",
        ),
        flows=(
            "payment-reorged",
            "eth-payment-reorged",
            "xmr-payment-reorged",
        ),
    ),
    Scenario(
        "E10",
        "A reorganisation makes a Monero payment invalid",
        "dead only when proven; the one in its place spends the same key images",
        tests=(
            "chain/test_monero_rebuild.py::test_a_dead_payment_is_rebuilt_from_its_own_outputs_and_pays_once",
            "chain/test_monero_rebuild.py::test_rebuilding_never_reaches_for_other_outputs",
            "chain/test_monero_rebuild.py::test_a_payment_that_lost_its_outputs_is_not_rebuilt",
            "unit/test_monero_sending.py::test_only_bad_inputs_whose_outputs_nobody_spent_are_beyond_hope",
            "flows/test_bumps.py::test_bytes_that_never_could_confirm_are_made_anew_though_no_pool_ever_had_them",
        ),
    ),
    Scenario(
        "E11",
        "A nonce is never mined and others wait behind it",
        "at most sixteen in flight; the gap is filled by the same payment, or by one to ourselves",
        tests=(
            "contract/test_account_payments.py::test_no_more_than_sixteen_are_on_their_way",
            "contract/test_account_payments.py::test_the_gap_that_a_payment_leaves_is_filled_by_the_next",
            "contract/test_account_payments.py::test_a_gap_that_nobody_else_fills_is_filled_by_a_payment_to_ourselves",
            "flows/test_hot.py::test_a_nonce_that_was_left_behind_is_used_up",
        ),
    ),
    Scenario(
        "E12",
        "Mined, and reverted",
        "not settled; the gas is booked; a new attempt only once the failure is final",
        tests=(
            "flows/test_reverts.py::test_a_bumped_payment_that_reverts_is_let_go",
            "flows/test_unclear.py::test_what_moved_nothing_is_given_back_once_it_is_final",
            "flows/test_unclear.py::test_what_moved_nothing_is_tried_again_in_another_payment",
            "contract/test_token_payments.py::test_a_payment_that_reverts_in_its_block_took_its_gas_and_its_nonce",
        ),
    ),
    Scenario(
        "E13",
        "The payee is a contract that refuses, or needs more gas",
        "refused before it is signed: failed, the money given back; what it needs it gets",
        tests=(
            "flows/test_scenarios_ethereum.py::test_a_withdrawal_to_a_contract_that_refuses_gives_its_money_back",
            "contract/test_token_payments.py::test_a_payee_that_takes_no_coin_is_refused_before_anything_is_signed",
            "contract/test_token_payments.py::test_a_payee_that_needs_more_gas_gets_it",
            "flows/test_tokens.py::test_a_paused_tokens_withdrawal_gives_its_money_back",
        ),
    ),
    Scenario(
        "E14",
        "A token says false, keeps a part, is paused or freezes an address",
        "paid only if our balance moved by the amount and an event says so; else a person",
        tests=(
            "flows/test_tokens.py::test_a_withdrawal_of_a_token_that_says_false_waits_for_a_person",
            "flows/test_unclear.py::test_what_left_in_full_is_booked_as_paid_whatever_the_payee_got",
            "contract/test_token_payments.py::test_a_token_that_moves_something_else_than_asked_is_unclear",
            "flows/test_tokens.py::test_a_paused_tokens_withdrawal_gives_its_money_back",
            "flows/test_sweeps.py::test_a_token_that_will_not_move_is_left_with_an_alarm",
            "contract/test_sweeps.py::test_a_batch_of_which_one_part_failed_is_unclear",
        ),
        lacks="no token that changes balances by itself (rebasing) is deployed",
    ),
    Scenario(
        "E15",
        "Fees above the ceiling",
        "waits; never more than the row says",
        tests=(
            "contract/test_account_payments.py::test_a_market_above_the_ceiling_is_waited_for",
            "flows/test_tampering.py::test_a_fee_above_the_ceiling_is_never_signed",
            "flows/test_bumps.py::test_a_payment_that_cannot_be_bumped_into_the_pool_waits_quietly",
            "flows/test_sweeps.py::test_dear_gas_is_waited_out",
            "chain/test_monero_spending.py::test_a_fee_above_the_ceiling_is_refused",
        ),
    ),
    Scenario(
        "E16",
        "The chain splits",
        "an operator's pause stops both ways; signatures are for one chain",
        tests=(
            "flows/test_payments.py::test_a_pause_stops_new_payments_and_those_not_yet_sent",
            "flows/test_deposits.py::test_paused_deposits_wait_and_then_arrive",
            "unit/test_ethereum_addresses.py::test_nothing_is_signed_for_every_chain",
        ),
        lacks="on Bitcoin and Monero no field of a transaction names the branch; there the pause is all there is",
    ),
    Scenario(
        "E17",
        "Dust, or a thousand tiny deposits",
        "credited to the unit, or kept below a published minimum; the cost is booked, not charged",
        tests=(
            "flows/test_deposits.py::test_a_deposit_below_the_minimum_is_listed_and_owed_to_nobody",
            "flows/test_sweeps.py::test_dust_is_left_and_listed",
            "chain/test_flows.py::test_many_small_coins_pay_a_batch_of_a_hundred",
            "ops/test_resolve.py::test_dust_goes_only_to_the_account_whose_address_it_came_to",
            "api/test_surface.py::test_assets_tell_their_limits",
        ),
        flows=("deposit-pair",),
    ),
    Scenario(
        "E18",
        "Thousands of deposits in one block",
        "bounded batches; a crash in the middle is A11",
        tests=(
            "flows/test_deposits.py::test_more_deposits_than_one_run_takes_are_all_credited",
            "flows/test_scenarios_engine.py::test_a_death_between_two_batches_of_one_block_credits_each_deposit_once",
        ),
        lacks="batches of seven stand for those of two hundred; ten thousand deposits at once are not sent",
    ),
)
