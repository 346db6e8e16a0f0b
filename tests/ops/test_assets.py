"""`coffer assets`: what stands for what is checked before it is written, and never changes after."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from embit import bip39
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from devstack.anvil import CHAIN_ID, Anvil
from ledger import policy
from ledger.schema import asset, audit, chain, task
from tests.ops.installation import Installation
from wallets.ethereum.addresses import EthereumAddressBook
from wallets.ethereum.contracts import creation, load
from wallets.ethereum.keys import EthereumKeys

Install = Callable[..., Installation]

CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
XPUB = EthereumKeys(bip39.mnemonic_to_seed("test " * 11 + "junk")).xpub


def add(here: Installation, code: str = "USDT", contract: str = CONTRACT, decimals: str = "6", *more: str) -> list[str]:
    return ["assets", "add", code, "--contract", contract, "--decimals", decimals, *more]


def listed(here: Installation) -> dict[str, Any]:
    return {row["code"]: row for row in json.loads(here.said("assets", "list", "--json"))}


@pytest.fixture
def here(install: Install) -> Installation:
    return install()


def test_a_token_is_added_with_its_rules_and_audited(here: Installation) -> None:
    options = ("--minimum", "2.5", "--withdrawal-fee", "0.75", "--confirmations", "30", "--as", "ann")
    said = here.coffer(*add(here, "USDT", CONTRACT, "6", *options))
    assert said.exit_code == 0, said.output
    assert "COFFER_TOKEN_DAILY_OUTFLOW_CAPS" in said.stderr
    assert "not asked" in said.stderr
    row = listed(here)["USDT"]
    assert (row["chain"], row["decimals"], row["contract"], row["state"]) == ("ethereum", 6, CONTRACT, "enabled")
    assert (row["minimum"], row["withdrawal_fee"]) == ("2.500000 USDT", "0.750000 USDT")
    rules = here.database.read(lambda tx: policy.of(tx, "USDT"))
    assert (rules.confirmations(1), rules.confirmations(10**30)) == (30, 30)
    assert (rules.withdrawal_maximum_units, rules.sweep_minimum_units) == (100_000 * 10**6, 10 * 10**6)
    act = here.database.read(lambda tx: tx.one(select(audit).where(audit.c.action == "asset.add")))
    assert (act.actor, act.target, act.details["contract"]) == ("operator:ann", "USDT", CONTRACT)
    here.said("pause", "USDT", "sweeps", "--reason", "look")
    assert listed(here)["USDT"]["paused"] == "sweeps"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("usdt",), "code: is not like USDT"),
        (("USDT ",), "code: is not like USDT"),
        (("U",), "code: is not like USDT"),
        (("USDT.eth",), "code: is not like USDT"),
        (("BTC",), "there is an asset BTC already"),
        (("USDT", CONTRACT.lower()), "must be written with its checksum"),
        (("USDT", CONTRACT[:-1] + "4"), "contract: has a wrong checksum"),
        (("USDT", "0x" + "0" * 40), "contract: is the zero address"),
        (("USDT", CONTRACT[:-1]), "contract: is not 0x and 40"),
        (("USDT", CONTRACT, "31"), "decimals: must be 0 to 30"),
        (("USDT", CONTRACT, "6", "--minimum", "0.0000001"), "minimum: USDT has 6 decimals"),
        (("USDT", CONTRACT, "6", "--withdrawal-fee", "-1"), "withdrawal_fee: must be plain"),
        (("USDT", CONTRACT, "6", "--chain", "bitcoin"), "chain: bitcoin has no tokens"),
        (("USDT", CONTRACT, "6", "--chain", "dogecoin"), "chain: dogecoin is no chain"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_written(here: Installation, arguments: Any, said: str) -> None:
    before = listed(here)
    assert said in here.refused(*add(here, *arguments))
    assert listed(here) == before


def test_neither_a_code_nor_a_contract_is_taken_twice(here: Installation) -> None:
    here.said(*add(here))
    assert "there is an asset USDT already" in here.refused(*add(here))
    assert "there is an asset USDT already" in here.refused(*add(here, "USDC.ETH"))
    assert set(listed(here)) == {"BTC", "XMR", "ETH", "USDT"}


def test_an_address_of_ours_is_no_token(here: Installation) -> None:
    keys = update(chain).where(chain.c.name == "ethereum")
    here.database.run(lambda tx: tx.execute(keys.values(account_public_key=CONTRACT)), "test")
    assert "an address of this installation" in here.refused(*add(here))


@pytest.mark.parametrize("dialect", ["sqlite", "mariadb"])
@pytest.mark.parametrize("change", [{"decimals": 7}, {"contract": "0x" + "1" * 40}, {"chain": "bitcoin"}], ids=str)
def test_what_an_asset_stands_for_never_changes(install: Install, dialect: str, change: dict[str, Any]) -> None:
    here = install(dialect=dialect)
    here.said(*add(here))
    with pytest.raises(DBAPIError, match="never changes"):
        here.database.run(lambda tx: tx.execute(update(asset).where(asset.c.code == "USDT").values(change)), "test")


def test_a_disabled_asset_is_no_longer_asked_for(here: Installation) -> None:
    here.said("assets", "disable", "XMR", "--as", "ann")
    assert listed(here)["XMR"]["state"] == "disabled"
    assert "disabled already" in here.refused("assets", "disable", "XMR")
    assert "is not an asset" in here.refused("treasury", "address", "XMR")
    here.said("assets", "enable", "XMR")
    assert listed(here)["XMR"]["state"] == "enabled"
    assert "no asset DOGE" in here.refused("assets", "enable", "DOGE")
    acts = here.database.read(lambda tx: [r.action for r in tx.all(select(audit.c.action).order_by(audit.c.id))])
    assert acts[-2:] == ["asset.disable", "asset.enable"]


def test_enabling_a_coin_gives_its_chain_the_periodic_work(here: Installation) -> None:
    """An installation that was founded for fewer chains has no tasks for the others."""
    of_monero = task.c.queue == "monero"
    here.database.run(lambda tx: tx.execute(task.delete().where(of_monero)), "test")
    here.said("assets", "disable", "XMR")
    here.said("assets", "enable", "XMR")
    names = here.database.read(lambda tx: {r.name for r in tx.all(select(task.c.name).where(of_monero))})
    assert {"scan:monero", "batch:monero", "watch:monero", "reconcile:monero"} <= names


# The contract's own word


@pytest.fixture
def asking(here: Installation, anvil: Anvil) -> Installation:
    """With a node, and the public key that its worker has left in the database."""
    here.variables |= {"COFFER_ETHEREUM_RPC_URL": anvil.url, "COFFER_ETHEREUM_CHAIN_ID": str(CHAIN_ID)}
    key = update(chain).where(chain.c.name == "ethereum").values(account_public_key=XPUB)
    here.database.run(lambda tx: tx.execute(key), "test")
    return here


def deploy(anvil: Anvil, name: str, *args: Any) -> str:
    return EthereumAddressBook(CHAIN_ID).parse(anvil.deploy(creation(load(name), args)))


def test_the_contract_itself_is_asked_for_its_decimals(asking: Installation, anvil: Anvil) -> None:
    contract = deploy(anvil, "GoodToken", "USDT", 6, anvil.payer, 10**15)
    assert "the contract itself says 6" in asking.refused(*add(asking, "USDT", contract, "18"))
    said = asking.coffer(*add(asking, "TETHER", contract, "6"))
    assert said.exit_code == 0, said.output
    assert "calls itself USDT" in said.stderr
    assert "not asked" not in said.stderr


def test_an_address_without_code_is_no_token(asking: Installation) -> None:
    nobody = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
    assert "there is no contract" in asking.refused(*add(asking, "USDT", nobody))


def test_a_contract_that_tells_no_decimals_is_no_token(asking: Installation, anvil: Anvil) -> None:
    contract = deploy(anvil, "Rejecter")
    assert "does not say how many decimals" in asking.refused(*add(asking, "USDT", contract))


def test_a_node_that_does_not_answer_is_no_yes(asking: Installation) -> None:
    asking.variables["COFFER_ETHEREUM_RPC_URL"] = "http://127.0.0.1:1"
    asking.refused(*add(asking))
    assert "USDT" not in listed(asking)


def test_a_node_of_another_chain_is_refused(asking: Installation, anvil: Anvil) -> None:
    contract = deploy(anvil, "GoodToken", "USDT", 6, anvil.payer, 10**15)
    asking.variables["COFFER_ETHEREUM_CHAIN_ID"] = "1"
    asking.refused(*add(asking, "USDT", contract))
    assert "USDT" not in listed(asking)
