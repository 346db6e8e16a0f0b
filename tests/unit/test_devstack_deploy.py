"""docker-compose.yml and its neighbours, read as data: no engine is needed to see that the parts fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack import environment
from devstack.bitcoind import WORKER_CALLS
from devstack.programs import PROGRAMS, ROOT
from devstack.roles import CHAINS, ROLES
from settings import Settings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "coffer"}
NODES = {"bitcoind", "monerod", "monero-wallet-rpc", "geth"}
#: Settings whose value is the path of a file that no secret is mounted as.
FILES_IN_VOLUMES = {"COFFER_ETHEREUM_SEED_FILE"}
START = ROOT / "deploy" / "monero" / "start"


def test_every_part_of_the_whole_is_there() -> None:
    servers = {"nginx", "mariadb", "redis"}
    assert servers | NODES | set(ROLES) <= set(SERVICES)


def test_it_starts_the_processes_that_the_private_stack_starts() -> None:
    commands = {" ".join(service["command"]) for name, service in OURS.items() if name != "ethereum-seed"}
    assert set(ROLES.values()) | {"db upgrade"} == commands


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_refers_to_exists(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
    assert ("networks" in service) != (service.get("network_mode") == "none")
    assert set(service.get("depends_on", [])) <= set(SERVICES)
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"]
    build = service.get("build")
    if isinstance(build, dict):
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    elif build:
        assert (ROOT / build / "Dockerfile").is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_a_secret_that_a_setting_names_is_mounted(name: str) -> None:
    for setting, value in SERVICES[name].get("environment", {}).items():
        if setting in FILES_IN_VOLUMES:
            assert any(value.startswith(volume.split(":")[1] + "/") for volume in SERVICES[name]["volumes"])
        elif setting.endswith("_FILE"):
            assert Path(value).name in SERVICES[name]["secrets"]
        else:
            assert not re.search(r"secret|password|passphrase|key", setting, re.IGNORECASE)


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_one_that_the_program_reads(name: str) -> None:
    known = {f"COFFER_{field.upper()}" for field in Settings.model_fields}
    assert {s if s in known else s.removesuffix("_FILE") for s in OURS[name]["environment"]} <= known


@pytest.mark.parametrize("chain", CHAINS)
def test_a_worker_has_what_the_private_stack_gives_it_and_the_secrets_of_no_other_chain(chain: str) -> None:
    service = SERVICES[f"worker-{chain}"]
    given = {s if s in FILES_IN_VOLUMES else s.removesuffix("_FILE") for s in service["environment"]}
    assert environment._OWN[f"worker {chain}"] <= given
    assert service["networks"] == ["back", chain]
    others = tuple(other for other in CHAINS if other != chain)
    assert not [secret for secret in service["secrets"] if secret.startswith(others)]


def test_the_seed_and_its_key_are_where_they_are_made_and_used_and_nowhere_else() -> None:
    with_seed = {name for name, s in SERVICES.items() if any("ethereum-seed:" in v for v in s.get("volumes", []))}
    with_key = {name for name, s in SERVICES.items() if "ethereum_seed_key" in s.get("secrets", [])}
    assert with_seed == with_key == {"ethereum-seed", "worker-ethereum"}
    assert SERVICES["worker-ethereum"]["volumes"][1].endswith(":ro")
    assert SERVICES["ethereum-seed"]["network_mode"] == "none"


def test_each_signer_keeps_its_own_record() -> None:
    records = [SERVICES[f"worker-{chain}"]["volumes"][0].split(":") for chain in CHAINS]
    assert len({volume for volume, _ in records}) == len(CHAINS)
    assert {path for _, path in records} == {"/var/lib/coffer/signer"}


@pytest.mark.parametrize("name", sorted(NODES))
def test_a_node_says_whether_it_is_well(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


def test_only_the_restricted_port_of_monerod_is_on_a_network() -> None:
    command = SERVICES["monerod"]["command"]
    assert "--rpc-bind-ip=127.0.0.1" in command
    assert "--rpc-restricted-bind-ip=0.0.0.0" in command
    assert not [word for service in ("monerod", "monero-wallet-rpc") for word in SERVICES[service]["command"]
                if "login" in word or "password" in word]  # fmt: skip


@pytest.mark.parametrize(
    ("network", "program", "flags"),
    [
        ("mainnet", "monerod", []),
        ("stagenet", "monerod", ["--stagenet"]),
        ("testnet", "monero-wallet-rpc", ["--testnet"]),
        ("regtest", "monero-wallet-rpc", []),
        ("regtest", "monerod", ["--regtest", "--offline", "--fixed-difficulty=1", "--keep-fakechain"]),
    ],
)
def test_a_monero_program_gets_the_flags_of_its_network(
    network: str, program: str, flags: list[str], tmp_path: Path
) -> None:
    (tmp_path / program).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / program).chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "COFFER_MONERO_NETWORK": network}
    said = subprocess.run([START, program, "--a b"], env=environ, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["--a b", *flags]


def test_a_network_that_is_none_starts_nothing() -> None:
    environ = {"PATH": "/usr/bin:/bin", "COFFER_MONERO_NETWORK": "main"}
    said = subprocess.run([START, "true"], env=environ, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "mainnet, stagenet, testnet or regtest" in said.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "container_name" not in service, "it could not be scaled"
    if name in OURS:
        assert service["read_only"]


def test_only_the_front_door_is_open_and_only_to_this_machine() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert SERVICES["nginx"]["ports"] == ["${COFFER_LISTEN:-127.0.0.1:8080}:8080"]


def test_the_api_can_reach_no_node_and_only_two_of_our_processes_the_outside() -> None:
    reachable = {network for node in NODES for network in SERVICES[node]["networks"]}
    assert not set(SERVICES["api"]["networks"]) & reachable
    assert not [secret for secret in SERVICES["api"]["secrets"] if secret.startswith(CHAINS)]
    ways_out = {"worker-rates": {"exchanges"}, "worker-webhooks": {"shops"}}
    for name, service in OURS.items():
        open_ = {n for n in service.get("networks", []) if COMPOSE["networks"][n] != {"internal": True}}
        assert open_ == ways_out.get(name, set())
    for network in ("exchanges", "shops"):
        assert sum(network in service.get("networks", []) for service in SERVICES.values()) == 1


@pytest.mark.parametrize("queue", ["tasks", "rates", "webhooks"])
def test_a_worker_of_no_chain_has_what_the_private_stack_gives_it_and_no_secret_of_a_chain(queue: str) -> None:
    service = SERVICES[f"worker-{queue}"]
    given = {setting.removesuffix("_FILE") for setting in service["environment"]}
    assert environment._OWN[f"worker {queue}"] <= given
    assert not [secret for secret in service["secrets"] if secret.startswith(CHAINS)]


def test_secrets_are_made_once_for_every_name(tmp_path: Path) -> None:
    first, again = _made_secrets(tmp_path), _made_secrets(tmp_path)
    assert first == again
    assert {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} <= set(first)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert first["mariadb_password"] in first["database_url"]
    assert first["redis_password"] in first["redis_auth"]
    assert first["bitcoin_rpc_password"] in first["bitcoin_rpc_url"]
    assert first["bitcoin_rpc_password"] not in first["bitcoin_rpc_auth"]
    assert first["monerod_password"] in first["monero_daemon_url"]
    assert f"rpc-login=coffer:{first['monerod_password']}" == first["monerod_conf"]
    assert first["monero_wallet_rpc_password"] in first["monero_wallet_rpc_url"]
    assert f"daemon-login=coffer:{first['monerod_password']}" in first["monero_wallet_rpc_conf"].splitlines()
    assert f"rpc-login=coffer:{first['monero_wallet_rpc_password']}" in first["monero_wallet_rpc_conf"].splitlines()


def _made_secrets(folder: Path) -> dict[str, str]:
    """Runs a copy of the script in the folder; returns what all files hold."""
    script = folder / "make-secrets"
    shutil.copy(ROOT / "deploy" / "make-secrets", script)
    subprocess.run([sys.executable, script], check=True, capture_output=True, timeout=60)
    return {path.name: path.read_text().strip() for path in (folder / "secrets").iterdir()}


def test_production_gives_the_worker_the_same_calls_as_the_tests() -> None:
    config = (ROOT / "deploy" / "bitcoind" / "bitcoin.conf").read_text()
    listed = re.search(r"^rpcwhitelist=coffer:(.+)$", config, re.MULTILINE)
    assert listed
    assert listed.group(1).split(",") == list(WORKER_CALLS)


def test_the_image_holds_the_pinned_bitcoind() -> None:
    assert f"{PROGRAMS['bitcoind'].sha256}  bitcoind" in (ROOT / "deploy" / "bitcoind" / "Dockerfile").read_text()


def test_the_image_is_built_with_every_part_of_the_wheel() -> None:
    """What the ignore file keeps from the build would be missing in each process, at its start."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(wheel["only-include"]) <= let_through
