"""The private servers, for real: their limits, their settings, and life after a kill."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from devstack.bitcoind import ADMIN, WORKER, Bitcoind, RpcError
from devstack.mariadb import MariaDB
from devstack.redis import RedisServer

MakeBitcoind = Callable[..., Bitcoind]


def test_the_worker_may_make_its_own_calls_only(bitcoind: Bitcoind) -> None:
    assert bitcoind.call(WORKER, "getblockcount") >= 110
    for method in ("stop", "dumpprivkey", "generatetoaddress", "invalidateblock", "addnode", "setnetworkactive"):
        with pytest.raises(RpcError, match="403"):
            bitcoind.call(WORKER, method)


def test_a_wrong_password_is_refused(bitcoind: Bitcoind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bitcoind._passwords, ADMIN, "wrong")
    with pytest.raises(RpcError, match="401"):
        bitcoind.admin("getblockcount")


def test_the_node_is_bare_as_production_may_be(bitcoind: Bitcoind) -> None:
    assert bitcoind.admin("getindexinfo") == {}
    address = bitcoind.miner_address()
    with pytest.raises(RpcError, match="Fallbackfee"):
        bitcoind.admin("send", {address: "1"}, wallet="miner")


def test_no_password_is_on_a_command_line(
    bitcoind: Bitcoind, redis_server: RedisServer, mariadb_server: MariaDB
) -> None:
    secrets = [*bitcoind._passwords.values(), redis_server.password, mariadb_server.password]
    for daemon in (bitcoind.daemon, redis_server.daemon, mariadb_server.daemon):
        shown = Path(f"/proc/{daemon.pid}/cmdline").read_text()
        assert not any(secret in shown for secret in secrets)


def test_a_killed_node_comes_back_at_the_same_address_with_its_chain(make_bitcoind: MakeBitcoind) -> None:
    node = make_bitcoind()
    tip = node.mine(3)[-1]
    url = node.worker_url
    node.flush()
    node.kill()
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, whichever comes first
        node.admin("getblockcount")
    node.start()
    assert node.worker_url == url
    assert node.admin("getbestblockhash") == tip
    assert node.admin("listwallets") == ["miner"]


def test_a_killed_node_gets_its_last_blocks_back_from_its_peer(
    server_folder: Path, make_bitcoind: MakeBitcoind
) -> None:
    peer = make_bitcoind()
    node = Bitcoind(server_folder / "node-with-peer", peer=peer)
    node.start()
    try:
        node.mine(3)
        peer.sync_with(node)
        node.kill()
        node.start()
        node.sync_with(peer)
        assert node.admin("getblockcount") == 3
    finally:
        node.stop()


def test_two_nodes_part_and_the_longer_chain_wins(make_bitcoind: MakeBitcoind) -> None:
    one, two = make_bitcoind(), make_bitcoind()
    two.connect(one)
    one.mine(2)
    two.sync_with(one)
    two.isolate()
    stale = one.mine(1)[0]
    two.mine(2)
    two.connect(one)
    one.sync_with(two)
    assert one.admin("getblockcount") == 4
    assert one.admin("getblockheader", stale)["confirmations"] == -1


def test_the_outside_world_pays_several_outputs_at_once(make_bitcoind: MakeBitcoind) -> None:
    node = make_bitcoind()
    addresses = [node.admin("getnewaddress", wallet="miner") for _ in range(2) if node.miner_address()]
    txid = node.pay({addresses[0]: "0.3", addresses[1]: Decimal("0.00000547")})
    assert txid in node.admin("getrawmempool")
    node.mine(1)
    assert node.admin("gettransaction", txid, wallet="miner")["confirmations"] == 1


def test_redis_asks_for_its_password_and_keeps_nothing(server_folder: Path) -> None:
    server = RedisServer(server_folder / "redis-of-one-test")
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            client.set("a", "1")
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("a")
        server.kill()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("a") is None
            client.set("b", "1")
            server.flush()
            assert client.get("b") is None
    finally:
        server.stop()


def test_mariadb_is_durable_strict_and_read_committed(mariadb_server: MariaDB) -> None:
    engine = sa.create_engine(mariadb_server.create_database("devstack_settings"))
    names = ("innodb_flush_log_at_trx_commit", "sync_binlog", "sql_mode", "transaction_isolation", "time_zone")
    with engine.connect() as connection:
        values = dict(connection.execute(sa.text(f"SHOW VARIABLES WHERE Variable_name IN {names}")).all())
    engine.dispose()
    assert values["innodb_flush_log_at_trx_commit"] == "1"
    assert values["sync_binlog"] == "1"
    assert "STRICT_TRANS_TABLES" in values["sql_mode"]
    assert values["time_zone"] == "+00:00"


def test_a_killed_mariadb_keeps_what_was_committed(server_folder: Path) -> None:
    server = MariaDB(server_folder / "mariadb-of-one-test")
    server.start()
    try:
        engine = sa.create_engine(server.create_database("kept"), pool_pre_ping=True)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE t (a INT)"))
            connection.execute(sa.text("INSERT INTO t VALUES (7)"))
        server.kill()
        server.start()
        with engine.begin() as connection:
            assert connection.execute(sa.text("SELECT a FROM t")).scalar_one() == 7
        engine.dispose()
    finally:
        server.stop()


def test_the_ordinary_user_sees_its_own_databases_only(mariadb_server: MariaDB) -> None:
    mariadb_server.admin("CREATE DATABASE IF NOT EXISTS somebody_elses")
    engine = sa.create_engine(mariadb_server.create_database("devstack_own"))
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError, match="denied"):
        connection.execute(sa.text("CREATE TABLE somebody_elses.t (a INT)"))
    engine.dispose()
