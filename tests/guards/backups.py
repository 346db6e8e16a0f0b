"""Guards of backups and of the quarantine after a restore."""

from __future__ import annotations

from tests.guards.guard import Edit, Guard

_DRILL = "tests/ops/test_backup_drill.py"
_BACKUP = "tests/ops/test_backup.py"
_KIND = "restore"

BACKUPS = (
    Guard(
        "nothing leaves in quarantine",
        _KIND,
        "the look at the quarantine before bytes are sent",
        (
            Edit(
                "jobs/payment/send.py",
                "    if held_back is not None:\n",
                "    if held_back is not None and not held_back:\n",
            ),
        ),
        (f"{_DRILL}::test_what_was_committed_but_never_seen_stays_here_until_the_quarantine_is_lifted",),
    ),
    Guard(
        "what waited goes to a person where nobody knows what was signed",
        _KIND,
        "the move to review at the lift",
        (Edit("jobs/backup/lift.py", "everything=not quarantine.knows_signed(row, found.chain)", "everything=False"),),
        (f"{_DRILL}::test_after_a_restore_nobody_is_paid_twice",),
    ),
    Guard(
        "bytes that a restore brought back are not sent where another payment may have paid",
        _KIND,
        "the look at withdrawals in doubt before the intent",
        (Edit("jobs/payment/build.py", "    if doubt is not None:\n", "    if False:\n"),),
        (f"{_DRILL}::test_a_payment_that_was_let_go_in_the_lost_life_is_not_sent_by_a_recheck",),
    ),
    Guard(
        "addresses of the lost life are given to nobody else",
        _KIND,
        "the indices set aside at a restore",
        (Edit("jobs/backup/quarantine.py", ".values(next_index=first + skip)", ".values(next_index=first)"),),
        (f"{_DRILL}::test_an_address_of_the_lost_life_is_given_to_nobody_else",),
    ),
    Guard(
        "nothing is compared with a chain that knows less than the backup",
        _KIND,
        "the height asked of the node",
        (
            Edit(
                "jobs/backup/compare.py",
                "if read_up_to is not None and health.tip.height < read_up_to:",
                "if read_up_to is not None and health.tip.height < 0:",
            ),
        ),
        (f"{_DRILL}::test_a_node_that_knows_less_than_the_backup_is_waited_for",),
    ),
    Guard(
        "a signer's record older than the backup is refused",
        _KIND,
        "the entry that the record must have",
        (
            Edit(
                "jobs/backup/restore.py",
                "if head.count and record.hash_at(count) != hash_:",
                "if head.count and record.hash_at(0) is None:",
            ),
        ),
        (f"{_BACKUP}::test_a_signers_record_that_is_older_than_the_backup_is_refused",),
    ),
    Guard(
        "a backup that was changed is refused",
        _KIND,
        "the comparison of hashes",
        (Edit("jobs/backup/manifest.py", "if there[name] != manifest.files[name]:", "if not there[name]:"),),
        (f"{_BACKUP}::test_a_backup_that_is_not_whole_is_refused",),
    ),
    Guard(
        "a left-behind log is not read into a restored database",
        _KIND,
        "the look for what lies beside the database's file",
        (Edit("jobs/backup/copying.py", 'for end in ("-wal", "-shm", "-journal")', "for end in ()"),),
        (f"{_BACKUP}::test_a_log_that_an_old_database_left_behind_is_not_read_into_the_new_one",),
    ),
)
