"""The other commands, and how they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from devstack.programs import ROOT
from jobs.keys import SCOPES, Keyring, parse
from ledger.schema import api_key, audit, project, task
from tests.ops.installation import API_SECRET, Installation

Install = Callable[..., Installation]

LATER = 4 * 10**15  #: in microseconds, far away


@pytest.fixture
def here(install: Install) -> Installation:
    return install()


def create(*more: str) -> list[str]:
    return ["keys", "create", "--project", "shop", "--name", "till", "--holder", "alice", *more]


def test_a_key_is_printed_once_and_only_its_hash_is_stored(here: Installation) -> None:
    made = json.loads(
        here.said(*create("--scope", "accounts:read", "--scope", "events:read", "--json", "--as", "root"))
    )
    row = here.engine.rows(api_key)[-1]
    token = parse(made["key"])
    assert token is not None
    assert (made["id"], made["project"]) == (row.public_id, "shop")
    assert row.secret_hash == Keyring(bytes.fromhex(API_SECRET), "test").hash(token.secret)
    assert row.scopes == ["accounts:read", "events:read"]
    for told in (here.said("keys", "list", "--json"), json.dumps([str(a.details) for a in here.engine.rows(audit)])):
        assert token.secret not in told
    assert [act.action for act in here.engine.rows(audit)[-2:]] == ["project.create", "api_key.create"]


def test_all_means_every_scope_and_an_unknown_one_is_named(here: Installation) -> None:
    assert set(json.loads(here.said(*create("--scope", "all", "--json")))["scopes"]) == SCOPES.keys()
    assert "everything" in here.refused(*create("--scope", "everything"))
    assert "network" in here.refused(*create("--scope", "all", "--cidr", "10.0.0.1/8"))
    assert "future" in here.refused(*create("--scope", "all", "--expires", "2020-01-01"))


def test_a_signing_key_comes_with_its_signing_secret(here: Installation) -> None:
    made = json.loads(here.said(*create("--scope", "all", "--signed", "--json")))
    assert made["signing_secret"] == Keyring(bytes.fromhex(API_SECRET), "test").signing_secret(made["id"], 1)


def test_a_revoked_key_is_over(here: Installation) -> None:
    made = json.loads(here.said(*create("--scope", "all", "--json")))
    here.said("keys", "revoke", made["id"], "--reason", "lost")
    states = {row["id"]: row["state"] for row in json.loads(here.said("keys", "list", "--json"))}
    assert states[made["id"]] == "revoked"
    assert "no key" in here.refused("keys", "revoke", "ak_nothing")


def test_keys_made_at_once_share_one_new_project(here: Installation) -> None:
    def run(n: int) -> int:
        command = [sys.executable, "-m", "cli.main", *create("--scope", "all", "--json")]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)} | here.environment
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=False).returncode

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, range(3))) == [0, 0, 0]
    assert [row.name for row in here.engine.rows(project)].count("shop") == 1


def test_projects_are_made_once(here: Installation) -> None:
    here.said("projects", "create", "shop")
    assert "already" in here.refused("projects", "create", "shop")
    assert {row["name"] for row in json.loads(here.said("projects", "list", "--json"))} >= {"house", "shop"}


def test_policy_is_checked_versioned_and_audited(here: Installation) -> None:
    here.said("policy", "set", "BTC", "withdrawal_fee_units", "1234", "--as", "alice")
    assert json.loads(here.said("policy", "list", "BTC", "--json"))["withdrawal_fee_units"] == 1234
    assert "default" in here.said("policy", "list", "BTC")
    here.said("policy", "reset", "BTC", "withdrawal_fee_units")
    assert json.loads(here.said("policy", "list", "--json"))["withdrawal_fee_units"] == 2000
    for bad in ("-1", "1.5", "true", "many", "null", "[1]"):
        assert here.coffer("policy", "set", "BTC", "payment_outputs", "--", bad).exit_code == 1, bad
    assert "not a policy" in here.refused("policy", "set", "BTC", "nonsense", "1")
    assert "not an asset" in here.refused("policy", "set", "XXX", "payment_outputs", "1")
    act = here.engine.rows(audit)[-2]
    assert (act.actor, act.target, act.details) == ("operator:alice", "BTC/withdrawal_fee_units", {"value": 1234})


def test_status_names_what_waits_for_a_person(here: Installation) -> None:
    customer = here.engine.funded(1_000_000)
    here.said("policy", "set", "BTC", "withdrawal_approval_above_units", "1000")
    here.engine.withdraw(customer, 100_000)
    here.said("pause", "*", "*", "--reason", "a drill")
    told = json.loads(here.said("status", "--json"))
    assert [row["state"] for row in told["stuck"]] == ["pending_approval"]
    assert [row["reason"] for row in told["pauses"]] == ["a drill"]
    assert told["money"][0]["owed"] == "0.01000000 BTC"
    assert told["scheduler"] == {"active": None}
    for part in ("queues", "chains", "pending_approval", "a drill"):
        assert part in here.said("status")
    assert here.said("alarms") == "none\n"


def test_tasks_are_listed_and_run(here: Installation) -> None:
    here.database.run(lambda tx: tx.execute(task.update().values(due_at=LATER)), "test")
    here.said("tasks", "run", "tidy")
    due = {row.name for row in here.engine.rows(task) if row.due_at < LATER}
    assert due == {"tidy"}
    assert "no task" in here.refused("tasks", "run", "nonsense")
    assert "scan:bitcoin" in here.said("tasks", "list")


def test_the_audit_log_shows_a_change_by_hand(here: Installation) -> None:
    here.said("projects", "create", "one")
    assert "whole" in here.said("audit", "verify")
    assert json.loads(here.said("audit", "list", "--json", "--limit", "1"))[0]["action"] == "project.create"
    _forget_guards(here, "audit")
    here.database.run(lambda tx: tx.execute(audit.update().values(actor="nobody")), "test")
    assert "does not follow" in here.refused("audit", "verify")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"COFFER_MODE": "live"}, "the database was made for test"),
        ({"COFFER_DATABASE_URL": "sqlite:////nowhere/at/all"}, "database"),
        ({"COFFER_API_SECRET": "zz"}, "COFFER_API_SECRET"),
        ({"COFFER_DATABASE_URL_FILE": "/nowhere"}, "COFFER_DATABASE_URL_FILE"),
    ],
)
def test_wrong_settings_are_named(here: Installation, variables: dict[str, str], told: str) -> None:
    here.variables |= variables
    result = here.coffer("status")
    assert result.exit_code == 1
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert "zz" not in result.stderr


def test_who_acts_must_be_printable(here: Installation) -> None:
    assert here.coffer("tasks", "run", "tidy", "--as", "a\nb").exit_code == 2
    assert here.coffer("tasks", "run", "tidy", "--as", " ").exit_code == 2


def test_every_command_has_help(here: Installation) -> None:
    from cli.main import COMMANDS

    for name in COMMANDS.keys() - {"demo"}:
        assert here.coffer(name, "--help").exit_code == 0, name


def _forget_guards(here: Installation, table: str) -> None:
    """What somebody with the database's own password can do."""
    from sqlalchemy import text

    def unit(tx) -> None:  # type: ignore[no-untyped-def]
        names = text(f"SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{table}'")
        for row in tx.all(names):
            tx.execute(text(f"DROP TRIGGER {row.name}"))

    here.database.run(unit, "test")
