"""Guards of what a deposit had paid for when it left the chain, of late money, and of a second node's word."""

from __future__ import annotations

from tests.guards.guard import Edit, Guard

_DEPENDANTS = "tests/flows/test_reorg_dependants.py"
_WITNESS = "tests/flows/test_witness.py"

REORGS: tuple[Guard, ...] = (
    Guard(
        "what a vanished deposit paid for is frozen",
        "vanished deposits",
        "the search for it, where a balance was credited",
        (Edit("jobs/purposes.py", "        dependants.freeze(tx, paid, owner[0], owed)\n"),),
        (f"{_DEPENDANTS}::test_what_a_transfer_passed_on_is_frozen_until_the_deposit_is_back[sqlite]",),
    ),
    Guard(
        "the oldest money is spent first",
        "vanished deposits",
        "what lay in the account before is forgotten",
        (
            Edit(
                "jobs/trace/streams.py",
                "front, flow = _before(tx, ledger_id, lot.move.id), _from",
                "front, flow = 0, _from",
            ),
        ),
        (f"{_DEPENDANTS}::test_the_oldest_money_of_an_account_is_spent_first[sqlite]",),
    ),
    Guard(
        "only what is owed is frozen",
        "vanished deposits",
        "all that was found is frozen",
        (Edit("jobs/trace/dependants.py", "share = min(left, leaf.share)", "share = leaf.share"),),
        (f"{_DEPENDANTS}::test_only_what_its_depositor_owes_is_frozen_what_was_spent_last_first[sqlite]",),
    ),
    Guard(
        "frozen money in an escrow is not released",
        "vanished deposits",
        "the look for it before a release",
        (Edit("jobs/escrow/saga.py", 'if frozen_parts.in_place(tx, ("escrow", row.id)):', "if False:"),),
        (f"{_DEPENDANTS}::test_an_escrow_that_somebody_else_funded_with_it_is_not_released[sqlite]",),
    ),
    Guard(
        "frozen money that an escrow gives back stays frozen",
        "vanished deposits",
        "the freeze does not follow it",
        (
            Edit(
                "jobs/escrow/books.py",
                '        frozen_parts.follow(self.tx, ("escrow", self.row.id), '
                "[(who[0], n) for who, n in got], left=after.held_units)\n",
            ),
        ),
        (f"{_DEPENDANTS}::test_what_a_frozen_escrow_gives_back_stays_frozen[sqlite]",),
    ),
    Guard(
        "a payment with frozen money in it is not sent",
        "vanished deposits",
        "only frozen accounts count",
        (Edit("jobs/payment/contents.py", " or r.id in still", ""),),
        (f"{_DEPENDANTS}::test_a_signed_payment_of_which_nothing_is_out_waits_for_the_deposit[sqlite]",),
    ),
    Guard(
        "a deposit that is back thaws what it had paid for",
        "vanished deposits",
        "nobody is told that it is back",
        (Edit("jobs/deposit/saga.py", "    frozen_parts.returned(tx, row)\n"),),
        (
            "tests/flows/test_escrow_reorgs.py::test_an_operator_takes_it_and_a_deposit_that_returns_makes_it_good[sqlite]",
        ),
    ),
    Guard(
        "late money leaves time to dispute",
        "vanished deposits",
        "the deadline stays where it was",
        (
            Edit(
                "jobs/escrow/saga.py",
                "return max(deadline, now + max(agreed, LEAST_US))",
                "return deadline + agreed * 0",
            ),
        ),
        (
            "tests/flows/test_escrow_late.py::test_a_late_payment_that_is_accepted_gets_the_agreed_time_anew[sqlite-release]",
        ),
    ),
    Guard(
        "a claim that cannot be written is no crash",
        "fencing and compare-and-set",
        "the lease is left to run out",
        (Edit("jobs/runtime.py", "                self._give_back(saga, claim)\n"),),
        ("tests/flows/test_disk.py::test_claims_whose_outcome_cannot_be_written_are_no_crashes[sqlite-outcome]",),
    ),
    Guard(
        "a full disk is told, not taken for a fault",
        "fencing and compare-and-set",
        "its errors are no longer known",
        (Edit("ledger/db.py", "cannot_write = _cannot_write(error)", "cannot_write = False"),),
        ("tests/integration/test_db_faults.py::test_a_sqlite_disk_that_takes_nothing_is_told_at_once",),
    ),
    Guard(
        "large deposits need a second node's word",
        "confirmations and reorganisations",
        "what it says is not heard",
        (Edit("jobs/deposit/saga.py", "    if doubt is not None:\n", "    if False:\n"),),
        (f"{_WITNESS}::test_a_deposit_that_only_one_node_shows_waits_and_is_told[sqlite]",),
    ),
)
