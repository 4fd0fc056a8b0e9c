"""Secrets of the store: sealed under a key that only its owner reads, and nowhere in clear."""

from __future__ import annotations

import itertools
import os
import stat
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from iscsi_initiator.store import (
    KeyDamaged,
    KeyExposed,
    KeyFile,
    KeyMissing,
    KeyringKey,
    KeyUnavailable,
    SecretBroken,
    SecretError,
    State,
    Store,
)
from iscsi_initiator.store.sealed import Sealed, seal, unseal
from iscsi_initiator.store.state import (
    GroupKey,
    IdType,
    LoginOptions,
    PersistentLogin,
    Portal,
    PresharedKey,
    Secrets,
    StaticTarget,
    TargetPortal,
    TunnelAddress,
)

SECRET = b"correct horse battery"
NAME = "iqn.2026-01.org.example:disk"


def every_secret(store):
    """A state with a secret in each place that can have one."""

    def sealed(place):
        return store.seal(SECRET, place)

    def options(record):
        return replace(record, options=LoginOptions(password=sealed(record.place)))

    portal = options(TargetPortal(portal=Portal(address="192.0.2.1"), initiator="one", initiator_port=0))
    login = options(PersistentLogin(target_name=NAME, number=3))
    login = replace(login, key=sealed(login.key_place))
    stub = Sealed(nonce=bytes(12), sealed=bytes(16))
    tunnel = TunnelAddress(destination="192.0.2.7", tunnel=stub)
    key = PresharedKey(id_type=IdType.IPV4_ADDRESS, id="192.0.2.7", key=stub)
    return State(
        target_portals=(portal,),
        static_targets=(options(StaticTarget(name=NAME)),),
        persistent_logins=(login,),
        secrets=Secrets(initiator=sealed(Secrets.initiator_place), targets={NAME: sealed(Secrets.target_place(NAME))}),
        tunnel_addresses=(replace(tunnel, tunnel=sealed(tunnel.place)),),
        preshared_keys=(replace(key, key=sealed(key.place)),),
        group_key=GroupKey(key=sealed(GroupKey.place)),
    )


@pytest.fixture
def filled(tmp_path):
    """The folder of a store that has every secret."""
    with Store(tmp_path) as store:
        store.put(every_secret(store))
    return tmp_path


def test_secrets_come_back_from_every_place(filled):
    with Store(filled) as store:
        found = list(store.state.sealed())
        assert len(found) == len({place for place, _ in found}) == 9
        assert {store.unseal(sealed, place) for place, sealed in found} == {SECRET}
        assert store.broken_secrets() == []


def test_no_secret_in_clear_anywhere(filled):
    """Not in a file of the folder, nor in anything that prints; neither is the key."""
    key = (filled / "key").read_text().split("\n")[1]
    with Store(filled) as store:
        shown = repr(store.state) + repr(store) + str(list(store.state.sealed()))
    content = b"".join(each.read_bytes() for each in filled.iterdir() if each.name != "key")
    for secret in (SECRET, SECRET.hex().encode(), key.encode(), bytes.fromhex(key)):
        assert secret not in content
        assert secret not in shown.encode()


def test_no_secret_in_what_is_written_on_the_way(tmp_path, monkeypatch):
    written = []

    def write(fd, data):
        written.append(bytes(data))
        return real(fd, data)

    real = os.write
    with Store(tmp_path) as store:
        store.seal(b"first", "x")
        monkeypatch.setattr("iscsi_initiator.store.files.os.write", write)
        store.put(every_secret(store))
    assert written
    assert SECRET not in b"".join(written)


def test_the_key_file_is_its_owners_alone(filled):
    assert stat.S_IMODE((filled / "key").stat().st_mode) == 0o600
    assert sorted(each.name for each in filled.iterdir()) == ["key", "lock", "store.json"]


def test_nonces_differ(filled):
    with Store(filled) as store:
        nonces = [sealed.nonce for _, sealed in store.state.sealed()]
    assert len(set(nonces)) == len(nonces)


def test_entropy_is_an_argument(tmp_path):
    count = itertools.count()

    def random_bytes(length):
        return bytes([next(count)]) * length

    with Store(tmp_path, random_bytes=random_bytes) as store:
        sealed = store.seal(SECRET, "x")
    assert KeyFile(tmp_path / "key").load() == bytes(32)
    assert sealed == seal(SECRET, "x", key=bytes(32), nonce=bytes([1]) * 12)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660])
def test_a_key_that_others_may_use_is_refused(filled, mode):
    (filled / "key").chmod(mode)
    with Store(filled) as store:
        place, sealed = next(store.state.sealed())
        with pytest.raises(KeyExposed, match=f"mode {mode:04o}"):
            store.unseal(sealed, place)
        with pytest.raises(KeyExposed):
            store.seal(SECRET, place)
        assert [type(each) for each in store.broken_secrets()] == [KeyExposed]


def test_a_key_of_another_user_is_refused(filled, monkeypatch):
    (filled / "key").chmod(0o600)
    owner = (filled / "key").stat().st_uid
    monkeypatch.setattr("iscsi_initiator.store.keys.os.geteuid", lambda: owner + 1)
    key = KeyFile(filled / "key")
    if owner == 0:
        os.chown(filled / "key", 4711, -1)
        monkeypatch.setattr("iscsi_initiator.store.keys.os.geteuid", lambda: 0)
    with pytest.raises(KeyExposed, match="another user"):
        key.load()


def test_a_lost_key_is_told_and_not_made_anew(filled):
    (filled / "key").unlink()
    with Store(filled) as store:
        place, sealed = next(store.state.sealed())
        with pytest.raises(KeyMissing):
            store.unseal(sealed, place)
        with pytest.raises(KeyMissing, match="no other is made"):
            store.seal(SECRET, place)
        assert [type(each) for each in store.broken_secrets()] == [KeyMissing]
        store.put(State())
        store.seal(SECRET, place)
    assert (filled / "key").exists()


def test_another_key_opens_nothing(filled):
    (filled / "key").unlink()
    KeyFile(filled / "key").save(bytes(32))
    with Store(filled) as store:
        broken = store.broken_secrets()
        assert [type(each) for each in broken] == [SecretBroken] * 9
        assert [each.place for each in broken] == [place for place, _ in store.state.sealed()]
        assert {each.event for each in broken} == {107}
        assert all(str(each).startswith(str(filled / "store.json")) for each in broken)


def test_a_secret_does_not_open_in_another_place(tmp_path):
    with Store(tmp_path) as store:
        sealed = store.seal(SECRET, StaticTarget(name="a").place)
        with pytest.raises(SecretBroken) as caught:
            store.unseal(sealed, StaticTarget(name="b").place)
        assert caught.value.place == "static target b"


@pytest.mark.parametrize(
    "content", ["", "iscsi-initiator key 1\n", "iscsi-initiator key 1\n" + "g" * 64, "0" * 64, "\xff" * 9]
)
def test_what_is_no_key_is_told_and_not_shown(filled, content):
    (filled / "key").write_text(content, encoding="latin-1")
    with Store(filled) as store, pytest.raises(KeyDamaged) as caught:
        store.seal(SECRET, "x")
    assert str(caught.value) == f"{filled / 'key'}: no key of the initiator service"


def test_a_key_that_is_no_file_is_refused(filled, tmp_path):
    (filled / "key").rename(filled / "moved")
    (filled / "key").symlink_to(filled / "moved")
    with Store(filled) as store:
        with pytest.raises(KeyUnavailable):
            store.seal(SECRET, "x")
        (filled / "key").unlink()
        os.mkfifo(filled / "key", 0o600)
        with pytest.raises(KeyDamaged, match="no regular file"):
            store.seal(SECRET, "x")


def test_a_key_in_a_folder_of_its_own(tmp_path):
    keys = KeyFile(tmp_path / "etc" / "key")
    with Store(tmp_path / "store", keys=keys) as store:
        store.put(every_secret(store))
        assert store.broken_secrets() == []
    assert keys.path.exists()
    assert not (tmp_path / "store" / "key").exists()


def test_a_key_that_cannot_be_kept_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with Store(tmp_path / "store", keys=KeyFile(tmp_path / "file" / "key")) as store, pytest.raises(KeyUnavailable):
        store.seal(SECRET, "x")
    with pytest.raises(KeyUnavailable, match="cannot be kept"):
        KeyFile(tmp_path / "file" / "key").save(bytes(32))


@given(st.binary(), st.text(), st.binary(min_size=32, max_size=32), st.binary(min_size=12, max_size=12))
def test_sealed_opens_with_all_three_alike(secret, place, key, nonce):
    sealed = seal(secret, place, key=key, nonce=nonce)
    assert unseal(sealed, place, key=key) == secret
    assert unseal(sealed, place + "x", key=key) is None
    assert unseal(sealed, place, key=bytes([key[0] ^ 1]) + key[1:]) is None
    spoilt = Sealed(nonce=nonce, sealed=bytes([sealed.sealed[0] ^ 1]) + sealed.sealed[1:])
    assert unseal(spoilt, place, key=key) is None
    assert repr(sealed) == "Sealed(...)"


class Keyring:
    """Stands for the library."""

    def __init__(self):
        self.kept = {}
        self.forgets = False

    def get_password(self, service, name):
        return self.kept.get((service, name))

    def set_password(self, service, name, value):
        if not self.forgets:
            self.kept[service, name] = value


@pytest.fixture
def keyring(monkeypatch):
    found = Keyring()
    monkeypatch.setitem(
        sys.modules, "keyring", SimpleNamespace(get_password=found.get_password, set_password=found.set_password)
    )
    return found


def test_the_keyring_has_the_key(tmp_path, keyring):
    keys = KeyringKey("main")
    with Store(tmp_path, keys=keys) as store:
        store.put(every_secret(store))
    with Store(tmp_path, keys=keys) as store:
        assert store.broken_secrets() == []
    key = keys.load()
    assert key is not None
    assert keyring.kept == {("iscsi-initiator", "main"): key.hex()}
    assert not (tmp_path / "key").exists()


def test_a_keyring_that_forgets_is_refused(tmp_path, keyring):
    keyring.forgets = True
    with Store(tmp_path, keys=KeyringKey("main")) as store, pytest.raises(KeyUnavailable, match="does not keep"):
        store.seal(SECRET, "x")


def test_a_keyring_with_something_else_is_told(tmp_path, keyring):
    keyring.kept["iscsi-initiator", "main"] = "hunter2"
    with Store(tmp_path, keys=KeyringKey("main")) as store, pytest.raises(KeyDamaged) as caught:
        store.seal(SECRET, "x")
    assert "hunter2" not in str(caught.value)


def test_a_keyring_that_fails_is_told_without_its_words(tmp_path, keyring, monkeypatch):
    def locked(service, name):
        raise RuntimeError("hunter2")

    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=locked))
    with pytest.raises(KeyUnavailable) as caught:
        KeyringKey("main").load()
    assert str(caught.value) == "the keyring: it cannot be used (RuntimeError)"


def test_the_library_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SecretError, match=r"pip install 'iscsi-conformance\[keyring\]'"):
        KeyringKey("main").load()
