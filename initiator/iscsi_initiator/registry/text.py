"""`.reg` files, as the registry editor of Windows writes them: "Windows Registry Editor Version 5.00" in UTF-16, and REGEDIT4
in the ANSI code page (Windows-1252 here).

Reading is lenient: either heading in any of these encodings or UTF-8, headings in the middle of a file, blank lines and
comments anywhere, empty lines behind a backslash (documents have them). Nothing of a value is lost. Writing is as the
editor writes: CRLF, lines of 80 characters at most where bytes are listed.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from iscsi_initiator.registry.values import TEXTS, RegKey, RegType, RegValue, from_text, to_number

VERSION_5 = "Windows Registry Editor Version 5.00"
REGEDIT4 = "REGEDIT4"
_HEADINGS = (VERSION_5, REGEDIT4)
_WIDTH = 80
_KEY = re.compile(r"\[(-?)(.+)\]|\[(-?)([^\]]+)\]\s*;.*")
_NAME = re.compile(r'(?:@|"((?:[^"\\]|\\.)*)")\s*=\s*(.*)', re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:;.*)?', re.DOTALL)
_OPEN_STRING = re.compile(r'(?:@|"(?:[^"\\]|\\.)*")\s*=\s*"(?:[^"\\]|\\.)*\\?')
_STILL_OPEN = re.compile(r'(?:[^"\\]|\\.)*\\?')
_DWORD = re.compile(r"dword:([0-9a-f]{1,8})", re.IGNORECASE)
_HEX = re.compile(r"hex(?:\(([0-9a-f]{1,8})\))?:((?:[0-9a-f]{1,2},)*(?:[0-9a-f]{1,2})?)", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class RegError(Exception):
    """No `.reg` file, or one that is damaged. line: counted from 1, 0 for the file as a whole; the message has it."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line
        self.reason = reason


def _ansi_gap(error: UnicodeError) -> tuple[str | bytes, int]:
    """The five bytes that Windows-1252 leaves open are control characters to Windows."""
    if isinstance(error, UnicodeDecodeError):
        return chr(error.object[error.start]), error.start + 1
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] in "\x81\x8d\x8f\x90\x9d":
        return error.object[error.start].encode("latin-1"), error.start + 1
    raise error


codecs.register_error("iscsi-initiator-ansi", _ansi_gap)


def _from_ansi(data: bytes) -> str:
    return data.decode("cp1252", "iscsi-initiator-ansi")


def _to_ansi(text: str) -> bytes:
    try:
        return text.encode("cp1252", "iscsi-initiator-ansi")
    except UnicodeEncodeError as error:
        raise RegError(f"REGEDIT4 has no character U+{ord(error.object[error.start]):04X}") from None


def read_reg(data: bytes) -> tuple[RegKey, ...]:
    """The keys of a file in order; a key that comes twice is there twice. Raises RegError."""
    lines = _decoded(data).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = next((line.strip() for line in lines if line.strip()), "")
    if first not in _HEADINGS:
        raise RegError(f"no .reg file: it does not begin with {VERSION_5!r} or {REGEDIT4}")
    ansi = first == REGEDIT4
    keys: list[RegKey] = []
    values: list[RegValue] = []
    key: RegKey | None = None
    for number, line in _logical(lines):
        if line in _HEADINGS:
            ansi = line == REGEDIT4
        elif line.startswith("["):
            if key is not None:
                keys.append(RegKey(key.path, tuple(values), key.line, key.deleted))
            key, values = _key(line, number), []
        elif key is None:
            raise RegError("a value without a key above it", number)
        else:
            values.append(_value(line, number, ansi=ansi))
    if key is not None:
        keys.append(RegKey(key.path, tuple(values), key.line, key.deleted))
    return tuple(keys)


def write_reg(keys: Iterable[RegKey], heading: str = VERSION_5) -> bytes:
    """The file. heading: VERSION_5 or REGEDIT4. Raises RegError for what REGEDIT4 cannot hold."""
    ansi = heading == REGEDIT4
    lines = [heading, ""]
    for key in keys:
        lines.append(f"[{'-' if key.deleted else ''}{key.path}]")
        lines += chain.from_iterable(_written(value, ansi=ansi) for value in key.values)
        lines.append("")
    text = "\r\n".join([*lines, ""])
    return _to_ansi(text) if ansi else codecs.BOM_UTF16_LE + text.encode("utf-16-le", "surrogatepass")


def _decoded(data: bytes) -> str:
    try:
        if data.startswith(codecs.BOM_UTF16_LE):
            return data[2:].decode("utf-16-le", "surrogatepass")
        if data.startswith(codecs.BOM_UTF16_BE):
            return data[2:].decode("utf-16-be", "surrogatepass")
        if data.startswith(b"W\0"):
            return data.decode("utf-16-le", "surrogatepass")
    except UnicodeDecodeError:
        raise RegError("the text breaks off in the middle of a UTF-16 character") from None
    if data.startswith(REGEDIT4.encode()):
        return _from_ansi(data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _from_ansi(data)


def _logical(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines with those that continue them, each with the number of its first; blank lines and comments left out."""
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at].strip()
        at += 1
        if not line or line.startswith(";"):
            continue
        if _OPEN_STRING.fullmatch(lines[number - 1].lstrip()):
            parts = [lines[number - 1].lstrip()]
            while at < len(lines) and _STILL_OPEN.fullmatch(lines[at]):
                parts.append(lines[at])
                at += 1
            if at == len(lines):
                raise RegError("a text without its closing quotation mark", number)
            yield number, "\n".join([*parts, lines[at].rstrip()])
            at += 1
            continue
        parts = [line]
        while parts[-1].endswith("\\"):
            while at < len(lines) and not lines[at].strip():
                at += 1
            if at == len(lines):
                raise RegError("the file ends in the middle of a value", number)
            parts[-1] = parts[-1][:-1]
            parts.append(lines[at].strip())
            at += 1
        yield number, "".join(parts)


def _key(line: str, number: int) -> RegKey:
    found = _KEY.fullmatch(line)
    if found is None:
        raise RegError("a key without its closing bracket", number)
    return RegKey(found[2] or found[4], line=number, deleted=bool(found[1] or found[3]))


def _value(line: str, number: int, *, ansi: bool) -> RegValue:
    found = _NAME.fullmatch(line)
    if found is None:
        raise RegError('neither a [key] nor a "name"=value', number)
    name, text = _ESCAPE.sub(r"\1", found[1] or ""), found[2]
    if string := _STRING.fullmatch(text):
        return RegValue(name, RegType.SZ, from_text(_ESCAPE.sub(r"\1", string[1])), number)
    text = "".join(text.partition(";")[0].split())
    if text == "-":
        return RegValue(name, line=number, deleted=True)
    if dword := _DWORD.fullmatch(text):
        return RegValue(name, RegType.DWORD, int(dword[1], 16).to_bytes(4, "little"), number)
    listed = _HEX.fullmatch(text)
    if listed is None:
        raise RegError(f"{name or '@'}: neither a text in quotation marks nor dword: nor hex:", number)
    kind = RegType.BINARY if listed[1] is None else int(listed[1], 16)
    data = bytes(int(byte, 16) for byte in listed[2].split(",") if byte.strip())
    if ansi and kind in TEXTS:
        data = _from_ansi(data).encode("utf-16-le")
    return RegValue(name, kind, data, number)


def _written(value: RegValue, *, ansi: bool) -> list[str]:
    name = '"' + _quoted(value.name) + '"=' if value.name else "@="
    if value.deleted:
        return [f"{name}-"]
    if value.type == RegType.DWORD and (number := to_number(value.data)) is not None:
        return [f"{name}dword:{number:08x}"]
    if value.type == RegType.SZ and (text := _plain_text(value.data)) is not None:
        return [f'{name}"{_quoted(text)}"']
    kind = "hex:" if value.type == RegType.BINARY else f"hex({value.type:x}):"
    data = value.data
    if ansi and value.type in TEXTS and len(data) % 2 == 0:
        data = _to_ansi(data.decode("utf-16-le", "surrogatepass"))
    return _listed(name + kind, data)


def _plain_text(data: bytes) -> str | None:
    """The text, where quotation marks can hold it and nothing else is there."""
    if len(data) % 2 or data[-2:] != b"\0\0":
        return None
    text = data[:-2].decode("utf-16-le", "surrogatepass")
    return None if re.search("[\0\r]", text) or "\n" in text else text


def _listed(line: str, data: bytes) -> list[str]:
    """Bytes in lines of _WIDTH characters at most."""
    lines = []
    for byte in data:
        # The editor leaves room for a comma and a backslash behind the last byte too.
        if len(line) + len("00,\\") > _WIDTH and not line.endswith(":"):
            lines.append(line + "\\")
            line = "  "
        line += f"{byte:02x},"
    line = line.removesuffix(",")
    return [*lines, line]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
