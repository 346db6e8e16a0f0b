"""What Redis shows of the database: it follows by itself, survives losing everything, and can be checked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import insert, select, update

from devstack.redis import RedisServer
from jobs import accounts
from jobs.mirror import keep as mirror
from jobs.mirror import rows as mirror_rows
from ledger import ownership
from ledger.ids import new_id
from ledger.schema import account, address, escrow
from ledger.schema import ownership as table
from tests.ops.installation import Installation, wait_for

Install = Callable[..., Installation]


@pytest.fixture(params=["sqlite", "mariadb"])
def here(request: pytest.FixtureRequest, install: Install, redis: Redis, redis_server: RedisServer) -> Installation:
    """An installation with a real Redis, whose mirror is written when a test says so."""
    return install(redis_server.url, dialect=request.param)


def order(here: Installation) -> Any:
    """A fresh order's row."""
    engine, name = here.engine, secrets.token_hex(4)
    return engine.database.run(lambda tx: accounts.create(tx, engine.caller, name, "order"), "test")


def home(here: Installation, order_id: int, chain: str = "bitcoin", **values: Any) -> Any:
    """A ready address of an order on any chain; its row."""

    def unit(tx: Any) -> Any:
        rest = {"chain": chain, "idx": secrets.randbelow(10**9), "address": secrets.token_hex(16), "state": "ready"}
        rest |= {"public_id": new_id("ad"), "account_id": order_id, "project_id": here.engine.caller.project_id}
        rest |= {"asset": {"bitcoin": "BTC", "monero": "XMR", "ethereum": "ETH"}[chain], "version": 1}
        rest |= {"purpose_kind": "balance", "purpose_id": order_id, "received_units": 0}
        rest |= {"created_at": tx.now, "updated_at": tx.now}
        row_id = tx.insert(insert(address).values(rest | values))
        return tx.one(select(address).where(address.c.id == row_id))

    return here.database.run(unit, "test")


def catch_up(here: Installation, redis: Redis) -> None:
    while mirror.advance(here.database, redis).more:
        pass


def text(value: Any) -> Any:
    if isinstance(value, dict):
        return {k.decode(): v.decode() for k, v in value.items()}
    return None if value is None else value.decode()


def shown_of(row: Any) -> dict[str, Any]:
    return {"address": row.address, "asset": row.asset, "id": row.public_id}


def agrees(here: Installation) -> str:
    return here.said("mirror", "check")


def differences(here: Installation) -> str:
    result = here.coffer("mirror", "check")
    assert result.exit_code == 1, result.output
    return str(result.stderr)


def test_an_orders_addresses_are_shown_on_every_chain(here: Installation, redis: Redis) -> None:
    paid = order(here)
    first, second = home(here, paid.id), home(here, paid.id)
    third = home(here, paid.id, "monero")
    catch_up(here, redis)
    assert text(redis.hget("bitcoin:order:account:map", paid.public_id)) == str(second.idx)
    found = text(redis.hgetall(f"bitcoin:order:account:{paid.public_id}"))
    assert {idx: json.loads(value) for idx, value in found.items()} == {
        str(row.idx): shown_of(row) for row in (first, second)
    }
    assert text(redis.hget("monero:order:account:map", paid.public_id)) == str(third.idx)
    assert text(redis.hget("monero:tag:order", paid.public_id)) == f"order_{paid.reference}"
    assert text(redis.hgetall(f"monero:tag:order_{paid.reference}")) == {paid.public_id: str(third.idx)}
    assert redis.exists("ethereum:order:account:map") == 0
    last = home(here, paid.id, "ethereum")
    catch_up(here, redis)
    assert text(redis.hget("ethereum:order:account:map", paid.public_id)) == str(last.idx)
    assert agrees(here) == "1 orders and 0 rows of ownership histories agree\n"


def test_accounts_that_are_no_orders_are_not_shown(here: Installation, redis: Redis) -> None:
    home(here, here.engine.account())
    catch_up(here, redis)
    assert list(redis.scan_iter(match="bitcoin:*")) == []
    assert "0 orders" in agrees(here)


def test_an_address_that_is_not_watched_yet_is_shown_without_its_text_until_it_is(
    here: Installation, redis: Redis
) -> None:
    paid = order(here)
    row = home(here, paid.id, address=None, state="pending")
    catch_up(here, redis)
    key = f"bitcoin:order:account:{paid.public_id}"
    assert json.loads(redis.hget(key, str(row.idx)) or "")["address"] is None
    ready = update(address).where(address.c.id == row.id).values(state="ready", address="bcrt1ready")
    here.database.run(lambda tx: tx.execute(ready), "t")
    catch_up(here, redis)
    assert json.loads(redis.hget(key, str(row.idx)) or "")["address"] == "bcrt1ready"
    assert redis.scard(mirror.PENDING) == 0
    assert "1 orders" in agrees(here)


def test_the_address_that_funds_an_escrow_is_shown_with_its_order(here: Installation, redis: Redis) -> None:
    paid, buyer, vendor = order(here), here.engine.account(), here.engine.account()

    def unit(tx: Any) -> int:
        values = {"public_id": new_id("es"), "project_id": here.engine.caller.project_id, "queue": "tasks"}
        values |= {"buyer_id": buyer, "vendor_id": vendor, "order_id": paid.id, "asset": "BTC", "units": 5}
        values |= {"fee_units": 0, "fee_from": "buyer", "wanted_units": 5, "reference": "r", "actor": "t"}
        values |= {"on_underpaid": "wait", "on_overpaid": "keep", "on_late": "hold", "arbiter": "key"}
        values |= {"state": "awaiting_funds", "created_at": tx.now, "updated_at": tx.now}
        return int(tx.insert(insert(escrow).values(values)))

    escrow_id = here.database.run(unit, "t")
    row = home(here, buyer, purpose_kind="escrow", purpose_id=escrow_id)
    link = update(escrow).where(escrow.c.id == escrow_id).values(address_id=row.id)
    here.database.run(lambda tx: tx.execute(link), "t")
    catch_up(here, redis)
    assert text(redis.hget("bitcoin:order:account:map", paid.public_id)) == str(row.idx)
    assert "1 orders" in agrees(here)


def test_histories_are_shown_in_their_order_as_the_api_shows_them(here: Installation, redis: Redis) -> None:
    owner = here.engine.funded(70_000)
    catch_up(here, redis)
    (member,) = redis.zrange("ownership:history:bitcoin", 0, -1)
    shown = json.loads(member)
    (row,) = here.engine.rows(table)
    assert (shown["event"], shown["amount"]["units"], shown["hash"]) == ("credited", "70000", row.hash)
    assert shown["owner"] == here.engine.row(account, owner).public_id
    assert agrees(here) == "0 orders and 1 rows of ownership histories agree\n"


def test_only_the_newest_rows_of_histories_are_shown(
    here: Installation, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (mirror, mirror_rows):
        monkeypatch.setattr(module, "HISTORY_MAX", 3)
    monkeypatch.setattr(mirror_rows, "BATCH", 2)
    record(here, 8)
    catch_up(here, redis)
    record(here, 4)
    catch_up(here, redis)
    shown = [json.loads(member)["number"] for member in redis.zrange("ownership:history:bitcoin", 0, -1)]
    assert shown == [10, 11, 12]
    assert "3 rows" in agrees(here)


def record(here: Installation, times: int) -> None:
    def unit(tx: Any) -> None:
        for _ in range(times):
            ownership.record(tx, ("order", 1), "moved", (1, "capital"), "BTC", 5, ("order", 1))

    here.database.run(unit, "t")


def test_a_row_that_is_committed_after_later_ones_is_shown_too(
    here: Installation, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are given when rows are written, and rows are seen when they are committed (MariaDB)."""
    paid, late = order(here), order(here)
    first = home(here, paid.id)
    missed = first.id + 1
    after = home(here, paid.id, id=first.id + 2)
    catch_up(here, redis)
    row = home(here, late.id, id=missed)
    catch_up(here, redis)
    assert text(redis.hget("bitcoin:order:account:map", late.public_id)) == str(row.idx)
    assert text(redis.hget("bitcoin:order:account:map", paid.public_id)) == str(after.idx)
    known = mirror.state(redis)
    assert known is not None
    assert missed not in known.addresses.gaps
    assert "2 orders" in agrees(here)


def test_a_flushed_redis_gets_its_mirror_back_by_itself(here: Installation, redis: Redis) -> None:
    home(here, order(here).id, "monero")
    here.engine.funded(70_000)
    catch_up(here, redis)
    before = contents(redis)
    assert len(before) == 5
    redis.flushall()
    assert "mirror rebuild" in differences(here)
    here.engine.services.redis = redis
    here.engine.tick()  # the periodic task
    assert contents(redis) == before
    assert "1 orders and 1 rows" in agrees(here)


def contents(redis: Redis) -> dict[bytes, Any]:
    found: dict[bytes, Any] = {}
    for pattern in mirror.PATTERNS:
        for key in redis.scan_iter(match=pattern):
            hashed = redis.type(key) == b"hash"
            found[key] = redis.hgetall(key) if hashed else redis.zrange(key, 0, -1, withscores=True)
    return found


HARMS: list[Callable[[Redis, str], Any]] = [
    lambda redis, paid: redis.delete("bitcoin:order:account:map"),
    lambda redis, paid: redis.delete(f"bitcoin:order:account:{paid}"),
    lambda redis, paid: redis.hset("bitcoin:order:account:map", paid, "1"),
    lambda redis, paid: redis.hset(f"bitcoin:order:account:{paid}", "1", "{}"),
    lambda redis, paid: redis.hset("bitcoin:order:account:map", "ac_nobody", "7"),
    lambda redis, paid: redis.hset("ethereum:order:account:map", paid, "7"),
    lambda redis, paid: redis.hset("bitcoin:order:account:ac_nobody", "7", "{}"),
    lambda redis, paid: redis.hset("monero:tag:order_x", paid, "7"),
    lambda redis, paid: redis.set("monero:tag:order", "another type"),
    lambda redis, paid: redis.zpopmin("ownership:history:bitcoin"),
    lambda redis, paid: redis.zadd("ownership:history:bitcoin", {"{}": 1}),
    lambda redis, paid: redis.zadd("ownership:history:bitcoin", {"{}": 10**6}),
    lambda redis, paid: redis.set("ownership:history:bitcoin", "another type"),
]


def test_what_differs_is_named_and_written_anew(here: Installation, redis: Redis) -> None:
    paid = order(here)
    home(here, paid.id)
    here.engine.funded(70_000)
    catch_up(here, redis)
    before = contents(redis)
    agrees(here)
    for harm in HARMS:
        harm(redis, paid.public_id)
        found = differences(here)
        assert any(key in found for key in (":order:account:", "monero:tag:order", "ownership:history:bitcoin"))
        assert here.said("mirror", "rebuild").startswith("1 orders")
        assert contents(redis) == before
    agrees(here)


def test_the_mirror_of_another_or_an_older_database_is_not_gone_on_with(here: Installation, redis: Redis) -> None:
    paid = order(here)
    home(here, paid.id)
    catch_up(here, redis)
    for wrong in ({"installation": "in_other"}, {"addresses": "[999999,[]]"}, {"ownership": "nonsense"}):
        redis.hset("bitcoin:order:account:map", "ac_nobody", "7")
        redis.hset(mirror.STATE, mapping=wrong)  # type: ignore[arg-type]
        catch_up(here, redis)
        assert text(redis.hgetall("bitcoin:order:account:map")).keys() == {paid.public_id}


def test_one_writes_at_a_time_and_a_dead_writer_is_outlived(here: Installation, redis: Redis) -> None:
    home(here, order(here).id)
    catch_up(here, redis)
    redis.set(mirror.LOCK, "somebody", px=60_000)
    with pytest.raises(mirror.MirrorBusy):
        mirror.advance(here.database, redis, patience_seconds=0)
    redis.pexpire(mirror.LOCK, 1)
    catch_up(here, redis)


def test_without_redis_nothing_is_mirrored_and_nothing_is_wrong(here: Installation, redis_server: RedisServer) -> None:
    here.engine.services.redis = Redis(host="127.0.0.1", port=1)
    home(here, order(here).id)
    here.engine.tick()
    assert here.engine.alarms() == set()
    here.redis_url = None
    assert "COFFER_REDIS_URL" in here.refused("mirror", "check")
    here.redis_url = "redis://127.0.0.1:1/0"
    assert "redis: " in here.refused("mirror", "rebuild")


def test_a_worker_keeps_the_mirror(here: Installation, redis: Redis) -> None:
    paid = order(here)
    home(here, paid.id)
    here.started("worker", "tasks")
    wait_for(lambda: redis.hget("bitcoin:order:account:map", paid.public_id), "the order in the mirror")
    redis.flushall()
    here.said("tasks", "run", "mirror")
    wait_for(lambda: redis.hget("bitcoin:order:account:map", paid.public_id), "the order in the mirror again")
