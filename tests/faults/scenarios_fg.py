"""Scenarios of hostile deposits and requests."""

from __future__ import annotations

from tests.faults.scenario import Scenario

SCENARIOS = (
    Scenario(
        "F1",
        "A token's transfer says false",
        "no credit without a listed contract, its own event and a balance that moved",
        tests=(
            "flows/test_tokens.py::test_a_token_that_says_false_credits_nothing",
            "chain/test_ethereum_deposits.py::test_a_transfer_that_only_says_false_is_nothing",
            "chain/test_ethereum_deposits.py::test_an_event_that_the_balance_does_not_bear_out_is_doubted",
            "flows/test_tokens.py::test_a_token_that_keeps_a_part_is_held_not_credited",
        ),
    ),
    Scenario(
        "F2",
        "Another contract's token of the same name",
        "no credit: the address decides",
        tests=(
            "chain/test_ethereum_deposits.py::test_a_token_that_is_not_listed_is_nothing",
            "chain/test_ethereum_deposits.py::test_a_listed_and_an_unlisted_token_in_one_transaction_are_told_apart",
        ),
    ),
    Scenario(
        "F3",
        "A payment inside a transaction was undone",
        "no credit; what really came is found",
        tests=(
            "chain/test_ethereum_deposits.py::test_coins_that_came_back_before_the_end_are_nothing",
            "unit/test_ethereum_reading.py::test_what_was_undone_moved_nothing",
            "chain/test_ethereum_deposits.py::test_coins_that_a_contract_sends_on_are_found",
        ),
    ),
    Scenario(
        "F4",
        "Coins without a transaction",
        "a surplus that reconciliation finds, booked to suspense",
        tests=(
            "flows/test_sync.py::test_coins_that_no_transaction_brought_go_to_suspense_once_they_are_final",
            "chain/test_ethereum_deposits.py::test_money_from_nowhere_is_in_the_balance_alone",
            "chain/test_ethereum_deposits.py::test_what_a_contract_leaves_when_it_ends_is_found",
        ),
    ),
    Scenario(
        "F5",
        "A failed transaction to our address",
        "no credit",
        tests=(
            "chain/test_ethereum_deposits.py::test_a_failed_transaction_is_nothing",
            "chain/test_ethereum_scanning.py::test_coins_whose_transaction_fails_in_its_new_block_are_gone",
        ),
    ),
    Scenario(
        "F6",
        "An unlock time far ahead",
        "not credited until it is over",
        tests=(
            "chain/test_monero_deposits.py::test_a_deposit_with_an_unlock_time_is_locked_until_then",
            "api/test_three_chains.py::test_a_locked_suspect_or_large_deposit_tells_what_it_waits_for",
            "flows/test_scenarios_engine.py::test_a_locked_deposit_is_credited_when_it_opens",
        ),
    ),
    Scenario(
        "F7",
        "The burning bug: outputs with one key",
        "credited once, as far as the wallet can spend",
        tests=(
            "chain/test_monero_deposits.py::test_two_payments_that_share_an_output_are_right_together",
            "chain/test_monero_deposits.py::test_a_list_that_tells_of_more_than_the_wallet_can_spend_is_suspect",
        ),
        lacks="played by changed answers of a real wallet: no burnt outputs are made",
    ),
    Scenario(
        "F8",
        "The wallet's list tells of more than there is",
        "checked against its outputs: suspect, not credited",
        tests=(
            "chain/test_monero_deposits.py::test_a_list_that_tells_of_more_than_the_wallet_can_spend_is_suspect",
            "chain/test_monero_deposits.py::test_a_deposit_that_the_chain_has_and_the_wallet_does_not_list_is_suspect",
            "flows/test_tokens.py::test_a_token_that_keeps_a_part_is_held_not_credited",
        ),
    ),
    Scenario(
        "F9",
        "A payment in the pool whose coins a rival claims",
        "not told as coming, never credited from the pool",
        tests=(
            "chain/test_monero_deposits.py::test_a_payment_whose_coins_a_rival_claims_is_not_told_as_coming",
            "flows/test_escrow_deposits.py::test_money_that_is_not_credited_yet_funds_nothing",
        ),
    ),
    Scenario(
        "F10",
        "An index that nobody was given, or our change account",
        "suspense; nobody by default",
        tests=(
            "flows/test_deposits.py::test_money_to_an_address_that_nobody_has_goes_to_suspense",
            "chain/test_monero_deposits.py::test_a_deposit_to_an_address_that_nobody_was_given_is_told_with_that_address",
            "unit/test_ethereum_addresses.py::test_no_two_indices_share_an_address",
            "integration/test_ledger_races.py::test_a_thousand_addresses_are_a_thousand_indices",
        ),
    ),
    Scenario(
        "F11",
        "Our own change or sweep looks like a deposit",
        "it is none; books and chain agree",
        tests=(
            "contract/test_chain_wallet.py::test_own_change_is_no_deposit",
            "chain/test_monero_deposits.py::test_own_change_is_no_deposit_though_the_wallet_forgot_that_it_paid",
            "chain/test_monero_deposits.py::test_what_the_wallet_paid_to_itself_is_no_deposit",
            "contract/test_sweeps.py::test_the_coin_of_an_index_is_swept_to_the_hot_wallet_and_is_no_deposit",
            "chain/test_ethereum_deposits.py::test_what_one_address_of_ours_pays_another_is_no_deposit",
        ),
        flows=(
            "eth-sweep",
            "token-sweep",
            "xmr-sweep",
        ),
    ),
    Scenario(
        "F12",
        "One transaction, many outputs",
        "each output is credited by its own key",
        tests=(
            "flows/test_deposits.py::test_every_output_of_one_transaction_is_credited_by_its_own_key",
            "contract/test_chain_wallet.py::test_each_output_of_one_transaction_is_a_deposit",
            "chain/test_ethereum_deposits.py::test_each_payee_of_a_batch_has_a_deposit_of_its_own_and_twice_the_same_one_two",
            "chain/test_monero_deposits.py::test_several_outputs_to_one_subaddress_are_one_deposit",
        ),
        flows=("deposit-pair",),
        lacks=(
            "on Monero the outputs of one transaction to one address are one deposit with their sum, as its "
            "wallet tells them"
        ),
    ),
    Scenario(
        "F13",
        "A mined coin that is not ripe",
        "not credited before the chain lets it be spent",
        tests=(
            "flows/test_deposits.py::test_a_coinbase_waits_until_the_chain_lets_it_be_spent",
            "chain/test_monero_deposits.py::test_a_mined_coin_is_a_coinbase_deposit",
            "chain/test_bitcoin_wallet.py::test_a_mined_coin_is_spendable_when_the_chain_says_so",
        ),
    ),
    Scenario(
        "F14",
        "A deposit on another chain",
        "not credited; a written way to recover it",
        tests=(
            "chain/test_ethereum_deposits.py::test_a_token_that_is_not_listed_is_nothing",
            "chain/test_ethereum_scanning.py::test_a_node_of_another_chain_is_not_read_on",
        ),
        lacks=(
            "nothing is credited that the asset's own chain does not show; how to recover such money is not "
            "written down yet"
        ),
    ),
    Scenario(
        "F15",
        "An amount of nothing, or of more than can be",
        "ignored or held; nothing overflows",
        tests=(
            "chain/test_ethereum_deposits.py::test_nothing_and_more_than_can_be_are_not_credited",
            "flows/test_scanning.py::test_an_output_of_nothing_is_no_deposit_and_stops_nothing",
        ),
    ),
    Scenario(
        "F16",
        "What was declared differs from what arrived",
        "the amount is what our keys can spend",
        tests=(
            "chain/test_ethereum_deposits.py::test_an_event_that_the_balance_does_not_bear_out_is_doubted",
            "chain/test_ethereum_deposits.py::test_a_fee_that_is_told_leaves_what_arrived",
            "flows/test_tokens.py::test_a_token_that_tells_what_arrived_is_credited_with_that",
            "chain/test_monero_deposits.py::test_a_list_that_tells_of_more_than_the_wallet_can_spend_is_suspect",
        ),
    ),
    Scenario(
        "F17",
        "Deposit, and withdrawal before it is final",
        "what is pending is spendable nowhere: not by withdrawal, escrow or swap",
        tests=(
            "api/test_incidents.py::test_certik_what_is_not_credited_yet_leaves_by_no_way",
            "flows/test_payments.py::test_deposits_not_yet_credited_are_never_spent",
            "flows/test_escrow_deposits.py::test_money_that_is_not_credited_yet_funds_nothing",
            "flows/test_swap_deposits.py::test_a_deposit_seen_in_time_keeps_its_rate_until_it_is_credited",
            "flows/test_deposits.py::test_a_deposit_is_shown_then_credited_then_final",
        ),
    ),
    Scenario(
        "F18",
        "Addresses that look alike",
        "addresses are shown whole and checked to the letter; none is suggested",
        tests=(
            "api/test_incidents.py::test_wbtc_an_address_that_only_looks_like_the_right_one_is_not_paid",
            "unit/test_ethereum_addresses.py::test_a_single_letter_in_the_wrong_case_is_refused",
            "api/test_withdrawals.py::test_only_addresses_of_this_network_are_paid",
        ),
        lacks="an allow-list with a delay is not built yet",
    ),
    Scenario(
        "G1",
        "Amounts that are no amounts",
        "refused, nothing written",
        tests=(
            "api/test_incidents.py::test_bithumb_a_number_in_the_wrong_unit_moves_nothing",
            "api/test_bad_input.py::test_an_amount_is_an_exact_decimal_string_or_refused",
            "unit/test_money.py::test_only_strings_are_amounts",
            "unit/test_money.py::test_more_digits_than_the_asset_has_are_never_rounded",
            "api/test_swaps.py::test_amounts_of_quotes_are_exact_decimal_strings",
            "api/test_escrows.py::test_every_amount_is_an_exact_decimal_string",
        ),
    ),
    Scenario(
        "G2",
        "One key, two bodies",
        "refused; the first effect stands",
        tests=(
            "api/test_idempotency.py::test_a_key_serves_one_request_only",
            "api/test_idempotency.py::test_a_repeat_gets_the_same_bytes_and_no_second_effect",
        ),
    ),
    Scenario(
        "G3",
        "A thousand calls with one key",
        "one withdrawal; the others get its answer or a conflict",
        tests=(
            "api/test_thousand.py::test_a_thousand_repeats_of_one_call",
            "api/test_twins.py::test_two_at_once_do_what_one_does_or_twice_that",
            "api/test_idempotency.py::test_parallel_twins_have_one_effect",
            "integration/test_parallel_clients.py::test_one_key_asked_with_by_many_is_one_payment_on_chain",
            "api/test_withdrawals.py::test_parallel_requests_make_one_withdrawal",
        ),
    ),
    Scenario(
        "G4",
        "A thousand calls, a balance for one",
        "exactly one succeeds",
        tests=(
            "api/test_thousand.py::test_a_thousand_withdrawals_of_a_balance_for_one",
            "api/test_thousand.py::test_a_thousand_transfers_of_a_balance_for_one",
            "api/test_incidents.py::test_poloniex_withdrawals_at_once_never_make_a_balance_negative_that_an_audit_would_sum_up",
            "api/test_incidents.py::test_flexcoin_money_that_is_moved_in_circles_at_once_is_not_more_afterwards",
            "api/test_withdrawals.py::test_a_hundred_parallel_withdrawals_against_a_balance_for_one",
            "integration/test_parallel_clients.py::test_a_hundred_withdrawals_of_a_balance_for_one_are_one_payment",
            "integration/test_ledger_races.py::test_a_balance_for_one_pays_one_of_a_hundred",
        ),
    ),
    Scenario(
        "G5",
        "Withdrawals, swaps and transfers of one balance",
        "what succeeds fits into it",
        tests=(
            "flows/test_swap_races.py::test_the_same_balance_is_sold_moved_and_withdrawn_once",
            "api/test_withdrawals.py::test_withdrawals_and_transfers_at_once_spend_no_more_than_there_is",
            "integration/test_ledger_races.py::test_withdrawals_and_transfers_share_one_balance",
            "flows/test_escrow_races.py::test_money_for_one_funds_one_of_many",
        ),
    ),
    Scenario(
        "G6",
        "Ids of others, guessing, fields that are none of the caller's",
        "not found, or refused by name",
        tests=(
            "api/test_incidents.py::test_fields_that_are_none_of_the_callers_are_refused_by_every_call",
            "api/test_incidents.py::test_a_hostile_text_in_any_field_is_refused_or_given_back_as_it_came",
            "api/test_bad_input.py::test_another_projects_resources_do_not_exist",
            "api/test_escrows.py::test_another_projects_escrow_does_not_exist",
            "api/test_swaps.py::test_another_projects_quote_and_account_do_not_exist",
            "api/test_bad_input.py::test_malformed_and_unknown_ids_are_404",
            "api/test_bad_input.py::test_a_body_is_read_strictly",
            "api/test_bad_input.py::test_an_unknown_field_is_named",
        ),
    ),
    Scenario(
        "G7",
        "Destinations that are ours, of another network, or ill-written",
        "refused at the request; checked again by the signer's chain",
        tests=(
            "api/test_withdrawals.py::test_only_addresses_of_this_network_are_paid",
            "api/test_withdrawals.py::test_our_own_address_is_not_paid",
            "api/test_three_chains.py::test_no_address_of_ours_is_paid_on_any_chain",
            "api/test_three_chains.py::test_the_wallets_own_address_is_not_paid",
            "api/test_three_chains.py::test_the_cold_address_is_not_paid",
            "flows/test_own_addresses.py::test_a_withdrawal_to_our_own_change_is_given_back_and_the_books_still_agree",
            "unit/test_ethereum_addresses.py::test_a_single_letter_in_the_wrong_case_is_refused",
        ),
        lacks=(
            "of addresses that nobody can spend from, token contracts and our own contracts are refused; other "
            "burn addresses are the customer's to choose"
        ),
    ),
    Scenario(
        "G8",
        "Paying oneself",
        "refused by rule",
        tests=(
            "api/test_bad_input.py::test_an_account_cannot_pay_itself",
            "api/test_escrows.py::test_an_escrow_to_oneself_is_refused",
            "flows/test_quotes.py::test_an_asset_is_not_swapped_for_itself",
        ),
    ),
    Scenario(
        "G9",
        "A signed call or webhook is replayed, or is old",
        "refused; money is keyed anyway",
        tests=(
            "api/test_keys.py::TestSignatures::test_a_signed_request_is_done_once",
            "api/test_keys.py::TestSignatures::test_an_old_or_early_timestamp_is_refused",
            "api/test_keys.py::TestSignatures::test_parallel_replays_of_a_signed_request_have_one_effect",
            "unit/test_demo_receiver.py::test_an_old_message_and_an_unsigned_one_are_wrong",
            "unit/test_demo_receiver.py::test_a_message_is_kept_once_however_often_it_comes",
        ),
    ),
    Scenario(
        "G10",
        "Release, refund and dispute of an escrow at once",
        "exactly one ends it",
        tests=(
            "flows/test_escrow_races.py::test_release_refund_dispute_cancel_and_the_deadline_at_once_end_it_once",
            "flows/test_escrow_races.py::test_funding_cancelling_and_the_deadline_at_once_end_one_way",
            "flows/test_escrow_races.py::test_parts_released_at_once_are_never_more_than_the_price",
        ),
    ),
    Scenario(
        "G11",
        "Swaps: expired quote, price of nothing, gain by rounding",
        "a quote serves once, by the database's time; rounding is against who asks, and booked",
        tests=(
            "flows/test_swap_balance.py::test_an_expired_quote_never_executes",
            "flows/test_swap_balance.py::test_a_quote_serves_one_swap",
            "flows/test_swap_races.py::test_of_thirty_two_that_accept_one_quote_exactly_one_gets_it",
            "flows/test_quotes.py::test_a_price_of_zero_prices_nothing_on_either_side",
            "unit/test_pricing.py::test_there_and_back_never_gains_even_without_spread_and_fees",
            "flows/test_swap_balance.py::test_what_a_sold_unit_buys_too_much_is_booked_as_rounding",
            "flows/test_quotes.py::test_dust_is_refused_on_either_side",
        ),
    ),
    Scenario(
        "G12",
        "Huge, deep or slow requests, ten thousand connections",
        "bounded; workers go on",
        tests=(
            "api/test_front.py::test_clients_that_stop_in_the_middle_hold_up_nobody_and_are_hung_up_on",
            "api/test_front.py::test_clients_that_do_not_hang_up_after_an_answer_hold_up_nobody",
            "api/test_front.py::test_a_hundred_megabytes_are_refused_before_they_are_read",
            "api/test_front.py::test_ten_thousand_connections_are_borne",
            "api/test_bad_input.py::test_a_large_body_is_refused",
            "api/test_bad_input.py::test_a_body_is_read_strictly",
            "api/test_bad_input.py::test_a_compressed_body_is_refused",
            "api/test_surface.py::test_calls_are_limited_by_key_for_all_processes",
        ),
        lacks="who reads a large answer slowly has a thread for ten seconds: a proxy that buffers answers bears it",
    ),
    Scenario(
        "G13",
        "A limit passed by splitting, by many keys, by two assets",
        "limits are counted in the transaction of the hold",
        tests=(
            "integration/test_ledger_races.py::test_limits_cannot_be_passed_in_parallel",
            "api/test_scenarios.py::test_a_limit_is_the_accounts_whichever_key_asks",
            "unit/test_signer.py::test_either_cap_holds_a_token_back",
            "flows/test_swap_balance.py::test_a_limit_passed_by_the_payout_refuses_the_whole_swap",
        ),
        lacks="limits are of each asset; there is none over several assets together",
    ),
)
