from __future__ import annotations

import sqlite3

import pytest
from tests.target.isns.bench import ADMIN, DISK, HOST, Bench, eid, name, portal, want

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.codes import Function
from iscsi_protocol.isns.tlv import address, number, text
from iscsi_target.config import ConfigError
from iscsi_target.isns.config import IsnsConfig, load_isns_config
from iscsi_target.isns.database import Database
from iscsi_target.isns.server import IsnsServer


@pytest.fixture
def filled() -> Bench:
    """A server with one of everything."""
    bench = Bench()
    bench.disk(text(Tag.PORTAL_NAME, "eth0"))
    bench.host(number(Tag.SCN_PORT, 5000))
    bench.share(DISK, HOST, "iqn.2001-04.com.example:later")
    where = address(Tag.DD_MEMBER_ADDRESS, "192.0.2.99"), number(Tag.DD_MEMBER_PORT, 1)
    bench.do(Function.DD_REG, ADMIN, *where, key=[number(Tag.DD_ID, 1)])
    return bench


def test_everything_comes_back(tmp_path, filled: Bench) -> None:
    path = tmp_path / "isns.db"
    database = Database(path)
    database.write(filled.server.take_changes())
    filled.do(Function.DEV_DEREG, DISK, *portal())
    database.write(filled.server.take_changes())
    database.write([])
    database.close()
    again = Database(path)
    store = again.load()
    again.close()
    for table, rows in store.tables.items():
        assert rows.rows() == filled.server.realm.store.tables[table].rows(), table
    bench = Bench()
    bench.server = IsnsServer(bench.config, store)
    bench.server.start(bench.now)
    bench.server.connection_made(1)
    assert bench.names(HOST) == [DISK, HOST]
    assert bench.query(HOST, *want(36), key=[name(DISK)]).operating == (number(36, 1),)


def test_a_message_is_written_as_a_whole_or_not(tmp_path, filled: Bench) -> None:
    path = tmp_path / "isns.db"
    database = Database(path)
    database.write(filled.server.take_changes())
    filled.do(Function.DEV_DEREG, DISK, eid("disk"))
    changes = filled.server.take_changes()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(
        "CREATE TRIGGER no BEFORE DELETE ON object WHEN OLD.kind = 'entity' BEGIN SELECT RAISE(FAIL, 'no'); END"
    )
    with pytest.raises(sqlite3.Error):
        database.write(changes)
    kinds = [kind for (kind,) in other.execute("SELECT kind FROM object WHERE kind IN ('entity', 'node', 'portal')")]
    assert sorted(kinds) == ["entity", "entity", "node", "node", "portal", "portal"]
    other.execute("DROP TRIGGER no")
    other.close()
    database.write(changes)
    assert list(database.load().entities) == ["host"]
    database.close()


def test_another_programs_file_is_refused(tmp_path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not the database of an iSNS server"):
        Database(path)
    assert path.read_bytes() == before


def test_another_version_is_refused(tmp_path) -> None:
    path = tmp_path / "isns.db"
    Database(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 9")
    other.close()
    with pytest.raises(ConfigError, match="version 9, this program reads 1"):
        Database(path)


def test_what_is_no_database_is_refused(tmp_path) -> None:
    path = tmp_path / "isns.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match="not a database"):
        Database(path)


def test_damaged_rows_are_refused(tmp_path) -> None:
    path = tmp_path / "isns.db"
    database = Database(path)
    other = sqlite3.connect(path)
    other.execute("INSERT INTO object VALUES ('node', x'c1', x'c1')")
    other.commit()
    other.close()
    with pytest.raises(ConfigError, match="damaged"):
        database.load()
    database.close()


def test_a_configuration_file(tmp_path) -> None:
    path = tmp_path / "isns.toml"
    path.write_text('listen = "127.0.0.1:0"\ncontrol_nodes = ["iqn.2001-04.com.example:admin"]\nesi_threshold = 5\n')
    made = load_isns_config(path)
    assert (made.listen, made.control_nodes, made.esi_threshold) == ("127.0.0.1:0", [ADMIN], 5)


@pytest.mark.parametrize(
    ("text_", "reason"),
    [
        ("listen = 5", "str"),
        ('listen = "here"', "HOST:PORT"),
        ("speed = 5", "speed"),
        ("policy = {}", "policy is no setting"),
        ("= 5", "isns.toml"),
        ('control_nodes = ["admin"]', "control_nodes"),
        ("shortest_period = 0", "rise from 1"),
        ("esi_threshold = 0", "1 to 100"),
        ("shortest_esi_interval = 0", "1 second"),
        ("scn_retries = -1", "0 to 100"),
        ("vendor_oui = 16777216", "24 bits"),
        ('domain_managers = ["everybody"]', "everybody"),
    ],
)
def test_a_bad_configuration_is_refused(tmp_path, text_: str, reason: str) -> None:
    path = tmp_path / "isns.toml"
    path.write_text(text_)
    with pytest.raises(ConfigError, match=reason):
        load_isns_config(path)


def test_a_missing_configuration_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_isns_config(tmp_path / "none.toml")


def test_defaults_are_those_of_the_standard() -> None:
    made = IsnsConfig()
    assert (made.esi_threshold, made.management_notifications, made.default_domain) == (3, True, False)
    assert made.domain_managers == ["control"]
