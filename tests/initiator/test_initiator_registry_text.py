"""`.reg` files are read leniently, written as the registry editor writes them, and told from what is none in one line."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.registry.text import REGEDIT4, VERSION_5, RegError, read_reg, write_reg
from iscsi_initiator.registry.values import (
    RegKey,
    RegType,
    RegValue,
    from_list,
    from_number,
    from_text,
    to_list,
    to_number,
    to_text,
    type_name,
)

KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\X"


def one(line, heading=VERSION_5):
    """The value that a line gives."""
    ((value,),) = (key.values for key in read_reg(f"{heading}\r\n\r\n[{KEY}]\r\n{line}\r\n".encode("cp1252")))
    return value


def written(value, heading=VERSION_5):
    """The lines of one value."""
    data = write_reg([RegKey(KEY, (value,))], heading)
    text = data.decode("cp1252") if heading == REGEDIT4 else data.decode("utf-16")
    lines = text.split("\r\n")
    assert lines[:3] == [heading, "", f"[{KEY}]"]
    assert lines[-3:] == ["", "", ""] or lines[-2:] == ["", ""]
    return [line for line in lines[3:] if line]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('"A"="text"', RegValue("A", RegType.SZ, from_text("text"), 4)),
        ('@="d"', RegValue("", RegType.SZ, from_text("d"), 4)),
        ('"A"=""', RegValue("A", RegType.SZ, b"\0\0", 4)),
        (r'"a\"b\\c"="x\\y\"z"', RegValue('a"b\\c', RegType.SZ, from_text('x\\y"z'), 4)),
        ('"A"="a;b" ; said', RegValue("A", RegType.SZ, from_text("a;b"), 4)),
        ('"A"="two\r\nlines"', RegValue("A", RegType.SZ, from_text("two\nlines"), 4)),
        ('"A=B"="x"', RegValue("A=B", RegType.SZ, from_text("x"), 4)),
        ('"A"=dword:0000000f', RegValue("A", RegType.DWORD, b"\x0f\0\0\0", 4)),
        ('"A"=DWORD:FFFFFFFF ; all', RegValue("A", RegType.DWORD, b"\xff" * 4, 4)),
        ('"A"=dword:1', RegValue("A", RegType.DWORD, b"\1\0\0\0", 4)),
        ('"A"=hex:', RegValue("A", RegType.BINARY, b"", 4)),
        ('"A"=hex:01,A,ff', RegValue("A", RegType.BINARY, b"\1\x0a\xff", 4)),
        ('"A"=hex:01,\\\r\n  02,\\\r\n\r\n 03', RegValue("A", RegType.BINARY, b"\1\2\3", 4)),
        ('"A"=hex(7):61,00,00,00,00,00', RegValue("A", RegType.MULTI_SZ, from_list(("a",)), 4)),
        ('"A"=hex(b):01,00,00,00,00,00,00,00', RegValue("A", RegType.QWORD, (1).to_bytes(8, "little"), 4)),
        ('"A"=hex(ffff0001):', RegValue("A", 0xFFFF0001, b"", 4)),
        ('"A"=-', RegValue("A", line=4, deleted=True)),
        ("@ = - ; away", RegValue("", line=4, deleted=True)),
        (' \t"A" = dword:2', RegValue("A", RegType.DWORD, b"\2\0\0\0", 4)),
    ],
)
def test_values(line, value):
    assert one(line) == value


def test_texts_of_regedit4_are_ansi():
    assert one('"A"="größe"', REGEDIT4).data == from_text("größe")
    assert to_text(read_reg(b'REGEDIT4\n[X]\n@="\x90"')[0].values[0].data) == "\x90"
    assert one('"A"=hex(2):67,72,f6,00', REGEDIT4) == RegValue("A", RegType.EXPAND_SZ, from_text("grö"), 4)
    assert one('"A"=hex(7):61,00,81,80,00,00', REGEDIT4).data == from_list(("a", "\x81€"))
    assert one('"A"=hex:61,00', REGEDIT4).data == b"a\0"


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffTEXT".encode("utf-16-le"),
        "\ufeffTEXT".encode("utf-16-be"),
        "TEXT".encode("utf-16-le"),
        "\ufeffTEXT".encode(),
        b"TEXT",
        b"\r\n \r\nTEXT",
    ],
)
def test_encodings(data):
    text = f'{VERSION_5}\n[{KEY}]\n"Größe"="€"\n'
    bare = data.replace(b"T\0E\0X\0T\0", text.encode("utf-16-le")).replace(b"\0T\0E\0X\0T", text.encode("utf-16-be"))
    ((value,),) = (key.values for key in read_reg(bare.replace(b"TEXT", text.encode())))
    assert (value.name, to_text(value.data)) == ("Größe", "€")


def test_version_5_in_ansi():
    data = f'{VERSION_5}\r\n[{KEY}]\r\n"Größe"="€"\r\n'.encode("cp1252")
    assert read_reg(data)[0].values[0].name == "Größe"


def test_keys_headings_and_comments():
    text = f"""{VERSION_5}
; said
[{KEY}] ; here
"A"=dword:1

[-{KEY}\\Old]
{REGEDIT4}
[{KEY}\\[odd] name]
"B"=hex(2):61,00
[{KEY}\\Empty]
"""
    keys = read_reg(text.encode())
    assert [(key.path.removeprefix(KEY), key.line, key.deleted, len(key.values)) for key in keys] == [
        ("", 3, False, 1),
        ("\\Old", 6, True, 0),
        ("\\[odd] name", 8, False, 1),
        ("\\Empty", 10, False, 0),
    ]
    assert to_text(keys[2].values[0].data) == "a"
    assert read_reg(VERSION_5.encode()) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no .reg file"),
        ("regedit5\n", "no .reg file"),
        (f'{VERSION_5}\n"A"=dword:1', "line 2: a value without a key above it"),
        (f"{VERSION_5}\n[{KEY}", "line 2: a key without its closing bracket"),
        (f"{VERSION_5}\n[{KEY}] x", "line 2: a key without its closing bracket"),
        (f"{VERSION_5}\n[]", "line 2: a key without its closing bracket"),
        (f"{VERSION_5}\n[{KEY}]\nA=1", 'line 3: neither a [key] nor a "name"=value'),
        (f'{VERSION_5}\n[{KEY}]\n\n"A"=1', "line 4: A: neither a text"),
        (f"{VERSION_5}\n[{KEY}]\n@=dword:123456789", "line 3: @: neither a text"),
        (f'{VERSION_5}\n[{KEY}]\n"A"=hex:0g', "line 3: A: neither a text"),
        (f'{VERSION_5}\n[{KEY}]\n"A"=hex:01,\\', "line 3: the file ends in the middle of a value"),
        (f'{VERSION_5}\n[{KEY}]\n"A"="abc\n\n', "line 3: a text without its closing quotation mark"),
        (f'{VERSION_5}\n[{KEY}]\n"A"="abc" def', "line 3: A: neither a text"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, message):
    with pytest.raises(RegError) as caught:
        read_reg(text.encode())
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_half_a_character_at_the_end():
    with pytest.raises(RegError, match="middle of a UTF-16 character"):
        read_reg(codecs.BOM_UTF16_LE + VERSION_5.encode("utf-16-le") + b"\n")


def test_lines_are_broken_as_the_editor_breaks_them():
    """Values of the guide's Appendix E, with its lines."""
    name = from_list(("ROOT\\iSCSIPrt",))
    assert written(RegValue("HardwareID", RegType.MULTI_SZ, name)) == [
        '"HardwareID"=hex(7):52,00,4f,00,4f,00,54,00,5c,00,69,00,53,00,43,00,53,00,49,\\',
        "  00,50,00,72,00,74,00,00,00,00,00",
    ]
    path = from_text("%systemroot%\\system32\\iscsiexe.dll")
    assert written(RegValue("ServiceDll", RegType.EXPAND_SZ, path)) == [
        '"ServiceDll"=hex(2):25,00,73,00,79,00,73,00,74,00,65,00,6d,00,72,00,6f,00,6f,\\',
        "  00,74,00,25,00,5c,00,73,00,79,00,73,00,74,00,65,00,6d,00,33,00,32,00,5c,00,\\",
        "  69,00,73,00,63,00,73,00,69,00,65,00,78,00,65,00,2e,00,64,00,6c,00,6c,00,00,\\",
        "  00",
    ]
    date = bytes.fromhex("00808ca3c594c601")
    assert written(RegValue("DriverDateData", RegType.BINARY, date)) == ['"DriverDateData"=hex:00,80,8c,a3,c5,94,c6,01']


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (RegValue("A", RegType.DWORD, from_number(-1)), ['"A"=dword:ffffffff']),
        (RegValue("A", RegType.DWORD, b"\1"), ['"A"=hex(4):01']),
        (RegValue("", RegType.SZ, from_text('a"b\\')), ['@="a\\"b\\\\"']),
        (RegValue("A", RegType.SZ, b""), ['"A"=hex(1):']),
        (RegValue("A", RegType.SZ, b"a\0b"), ['"A"=hex(1):61,00,62']),
        (RegValue("A", RegType.SZ, from_text("a\nb")), ['"A"=hex(1):61,00,0a,00,62,00,00,00']),
        (RegValue("A", RegType.NONE, b""), ['"A"=hex(0):']),
        (RegValue("A", deleted=True), ['"A"=-']),
    ],
)
def test_written_values(value, lines):
    assert written(value) == lines


def test_a_deleted_key_is_written():
    assert write_reg([RegKey(KEY, deleted=True)], REGEDIT4).decode() == f"{REGEDIT4}\r\n\r\n[-{KEY}]\r\n\r\n"


def test_regedit4_has_no_other_characters():
    assert written(RegValue("A", RegType.EXPAND_SZ, from_text("€\x90")), REGEDIT4) == ['"A"=hex(2):80,90,00']
    for value in (RegValue("日", RegType.SZ, from_text("")), RegValue("A", RegType.MULTI_SZ, from_list(("日",)))):
        with pytest.raises(RegError, match=r"REGEDIT4 has no character U\+65E5"):
            write_reg([RegKey(KEY, (value,))], REGEDIT4)


def test_bytes_of_values():
    assert to_text(b"a\0\0\0b\0") == "a"
    assert to_text(b"a\0") == "a"
    assert to_text(b"a") is None
    assert to_list(b"") == ()
    assert to_list(from_list(())) == ()
    assert to_list(from_list(("a", "b"))) == ("a", "b")
    assert to_list(b"a\0\0\0") == ("a",)
    assert to_list(b"a\0") == ("a",)
    assert to_list(b"a") is None
    assert to_number(b"abc") is None
    assert (type_name(4), type_name(7), type_name(99)) == ("REG_DWORD", "REG_MULTI_SZ", "type 0x63")


names = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))
ansi_names = st.text(st.characters(codec="cp1252", exclude_characters="\r\n"))
kinds = st.one_of(st.sampled_from(RegType), st.integers(0, 0xFFFFFFFF))
paths = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1).map(
    lambda text: f"HKEY_LOCAL_MACHINE\\{text}x"
)
ansi_data = st.one_of(
    st.tuples(st.just(RegType.BINARY), st.binary()),
    st.tuples(st.sampled_from([RegType.SZ, RegType.EXPAND_SZ]), ansi_names.map(from_text)),
    st.tuples(st.just(RegType.MULTI_SZ), st.lists(ansi_names).map(tuple).map(from_list)),
)


def plain(keys):
    """Keys without the lines at which they stood."""
    return [
        (key.path, key.deleted, [(value.name, value.type, value.data, value.deleted) for value in key.values])
        for key in keys
    ]


@given(st.lists(st.builds(RegKey, paths, st.lists(st.builds(RegValue, names, kinds, st.binary())).map(tuple))))
def test_what_is_written_comes_back(keys):
    assert plain(read_reg(write_reg(keys))) == plain(keys)


@given(st.lists(st.tuples(ansi_names, ansi_data)))
def test_what_is_written_as_regedit4_comes_back(values):
    keys = [RegKey(KEY, tuple(RegValue(name, kind, data) for name, (kind, data) in values))]
    assert plain(read_reg(write_reg(keys, REGEDIT4))) == plain(keys)


@given(st.one_of(st.binary(), st.text().map(lambda text: f"{VERSION_5}\n[{KEY}]\n{text}".encode(errors="replace"))))
def test_any_bytes_are_keys_or_one_error(data):
    said = ""
    try:
        read_reg(data)
    except RegError as error:
        said = str(error)
    assert "\n" not in said


def test_long_files_take_no_longer_than_they_have_to():
    """Lists and texts of many lines are read in one go."""
    listed = "01,\\\r\n  " * 200_000
    text = "x\n" * 200_000
    keys = read_reg(f'{VERSION_5}\n[{KEY}]\n"A"=hex:{listed}02\n"B"="{text}"\n"C"=hex:01,{" " * 200_000}02'.encode())
    assert [len(value.data) for value in keys[0].values] == [200_001, 800_002, 2]
