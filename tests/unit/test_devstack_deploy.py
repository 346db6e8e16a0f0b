"""docker-compose.yml and its neighbours, read as data: no engine is needed to see that the parts fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.bitcoind import WORKER_CALLS
from devstack.programs import PROGRAMS, ROOT
from devstack.roles import ROLES
from settings import Settings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "coffer"}
NODES = {"bitcoind", "monerod", "monero-wallet-rpc", "geth"}


def test_every_part_of_the_whole_is_there() -> None:
    servers = {"nginx", "api", "scheduler", "mariadb", "redis"}
    assert servers | NODES | {"worker-bitcoin", "worker-tasks"} <= set(SERVICES)


def test_it_starts_the_processes_that_the_private_stack_starts() -> None:
    commands = {" ".join(service["command"]) for service in OURS.values()}
    assert set(ROLES.values()) | {"db upgrade"} == commands


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_refers_to_exists(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
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
        if setting.endswith("_FILE"):
            assert Path(value).name in SERVICES[name]["secrets"]
        else:
            assert not re.search(r"secret|password|passphrase|key", setting, re.IGNORECASE)


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_one_that_the_program_reads(name: str) -> None:
    known = {f"COFFER_{field.upper()}" for field in Settings.model_fields}
    given = {setting.removesuffix("_FILE") for setting in OURS[name]["environment"]}
    assert given <= known


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


def test_the_api_can_reach_no_node_and_no_process_of_ours_the_outside() -> None:
    reachable = {network for node in NODES for network in SERVICES[node]["networks"]}
    assert not set(SERVICES["api"]["networks"]) & reachable
    assert "bitcoin_rpc_url" not in SERVICES["api"]["secrets"]
    for service in OURS.values():
        assert all(COMPOSE["networks"][network] == {"internal": True} for network in service["networks"])


def test_nodes_without_a_worker_wait_for_their_profile() -> None:
    assert SERVICES["monerod"]["profiles"] == SERVICES["monero-wallet-rpc"]["profiles"] == ["monero"]
    assert SERVICES["geth"]["profiles"] == ["ethereum"]
    assert "profiles" not in SERVICES["bitcoind"]


def test_secrets_are_made_once_for_every_name(tmp_path: Path) -> None:
    first, again = _made_secrets(tmp_path), _made_secrets(tmp_path)
    assert first == again
    assert {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} <= set(first)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert first["mariadb_password"] in first["database_url"]
    assert first["redis_password"] in first["redis_auth"]
    assert first["bitcoin_rpc_password"] in first["bitcoin_rpc_url"]
    assert first["bitcoin_rpc_password"] not in first["bitcoin_rpc_auth"]


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
