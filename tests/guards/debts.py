"""Guards of debts that a vanished deposit leaves, and of what is in doubt or somebody else's."""

from __future__ import annotations

from tests.guards.guard import Edit, Guard

_FAMILY = "debts and doubts"
_DEBTS = "tests/flows/test_debts.py"

DEBTS: tuple[Guard, ...] = (
    Guard(
        "a debtor's own unsent withdrawals repay his debt",
        _FAMILY,
        "their cancelling when a deposit of his leaves the chain",
        (Edit("jobs/trace/dependants.py", "        own.repay(tx, debtor_id, paid.asset)\n"),),
        (f"{_DEBTS}::test_a_debtors_own_withdrawal_that_has_not_left_repays_his_debt",),
    ),
    Guard(
        "a debt is not written off while its money waits to be paid out",
        _FAMILY,
        "the look for unsent withdrawals in `write_off`",
        (Edit("jobs/resolve/accounts.py", "    _check_nothing_waits(tx, row.id, asset)\n"),),
        (
            f"{_DEBTS}::test_one_that_may_have_been_paid_in_a_lost_life_stays_and_keeps_his_debt_from_being_written_off",
            f"{_DEBTS}::test_no_debt_is_written_off_while_a_payment_of_which_nothing_is_out_has_the_money",
        ),
    ),
    Guard(
        "a deposit that comes back repays what the house has borne of it",
        _FAMILY,
        "the debt that is owed again before the credit",
        (
            Edit(
                "jobs/deposit/saga.py",
                "again = owner[0] != accounts.HOUSE_ACCOUNT and debts.owe_again(",
                "again = False and debts.owe_again(",
            ),
        ),
        (f"{_DEBTS}::test_what_was_written_off_is_repaid_by_its_own_deposit_whatever_else_is_owed",),
    ),
    Guard(
        "whether anything is owed is asked behind the account's lock",
        _FAMILY,
        "the lock of the account's row in `lift`",
        (
            Edit(
                "jobs/debts.py",
                "    accounts.lock(tx, account_id)  # whoever adds a debt",
                "    # whoever adds a debt",
            ),
        ),
        ("tests/flows/test_debt_races.py::test_who_comes_to_owe_in_another_asset_while_a_debt_ends_stays_frozen",),
    ),
    Guard(
        "a stored answer is for the person who asked",
        _FAMILY,
        "the holder in the digest of an idempotency key",
        (Edit("api/idempotency.py", "or [[holder, value]]", "or [[value]]"),),
        ("tests/api/test_keys.py", "tests/api/test_idempotency.py", "tests/api/test_withdrawals.py"),
    ),
    Guard(
        "dead is dead by the chain's own word",
        _FAMILY,
        "a hundred blocks count where the chain has a word for final",
        (
            Edit(
                "jobs/services.py",
                "status.final or (known.final_height is None and status.depth >= FINAL_DEPTH)",
                "status.final or status.depth >= FINAL_DEPTH",
            ),
        ),
        ("tests/flows/test_payments.py::test_where_the_chain_has_a_word_for_final_depth_alone_proves_nobody_dead",),
    ),
    Guard(
        "what is in doubt on an index that a restore set aside is not swept",
        _FAMILY,
        "the place of an address that is nobody's yet",
        (
            Edit(
                "jobs/backup/quarantine.py",
                "return place_of(tx, name, text) if index is None else index",
                "return index",
            ),
        ),
        ("tests/flows/test_reconcile_set_aside.py",),
    ),
    Guard(
        "no snapshot steps over a posting that is not committed",
        _FAMILY,
        "the locking read of the sums",
        (
            Edit(
                "ledger/balances.py",
                "(query.with_for_update(read=True) for query in (_CREDITED, _DEBITED))",
                "(_CREDITED, _DEBITED)",
            ),
        ),
        ("tests/integration/test_ledger_races.py::test_a_snapshot_waits_for_an_older_posting_that_is_not_committed",),
    ),
)
