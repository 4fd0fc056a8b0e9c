"""Each rule about a PDU's shape: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

from dataclasses import replace

from iscsi_conformance.corpus.script import DIGESTS, Edit
from iscsi_conformance.corpus.table import Table
from iscsi_protocol.pdu import NO_TAG, Ahs, AhsType, RawPdu, bidirectional_read_length, encode_ahs, extended_cdb
from iscsi_protocol.stream import Direction


def bits(offset: int, mask: int) -> Edit:
    """Set these header bits."""

    def edit(raw: RawPdu) -> RawPdu:
        return raw.with_bytes(offset, bytes([raw.bhs[offset] | mask]))

    edit.__doc__ = f"bits {mask:#04x} of header byte {offset} set"
    return edit


def padded(byte: int) -> Edit:
    """Fill the padding with a byte."""

    def edit(raw: RawPdu) -> RawPdu:
        return replace(raw, padding=bytes([byte]) * len(raw.padding))

    edit.__doc__ = f"padding of {byte:#04x}"
    return edit


def with_ahs(raw: RawPdu) -> RawPdu:
    """Append one word of AHS and count it."""
    return replace(raw.with_bytes(4, b"\1"), ahs=bytes(4))


def wrong_header_digest(raw: RawPdu) -> RawPdu:
    """A wrong header digest."""
    return replace(raw, header_digest_error=True)


def wrong_data_digest(raw: RawPdu) -> RawPdu:
    """A wrong data digest."""
    return replace(raw, data_digest_error=True)


def with_data(raw: RawPdu) -> RawPdu:
    """Give a data segment to a PDU that has none."""
    return replace(raw.with_bytes(5, b"\0\0\4"), data=b"data")


LONG_CDB = encode_ahs([extended_cdb(bytes(32))])
TWO_WAYS = encode_ahs([bidirectional_read_length(0)])

TABLE: Table = {
    "framing.reserved-bits": (
        (
            lambda s: s.ready().command(edit=bits(3, 1)),
            lambda s: s.ready().read().data_in(edit=bits(2, 4)),
            lambda s: s.ready().nop_out(edit=bits(1, 1)),
            lambda s: s.login_request(edit=bits(22, 0x80)),
            lambda s: s.ready().command().response(edit=bits(1, 1)),
        ),
        (lambda s: s.ready().nop_out(edit=bits(1, 0x80)).nop_in(),),
    ),
    "framing.level-2-field": (
        (
            lambda s: s.ready().command(command_priority=1),
            lambda s: s.ready().command().response(status_qualifier=1),
            lambda s: s.ready().tmf().tmf_response(additional_response_information=1),
        ),
        (lambda s: s.ready(iSCSIProtocolLevel="2").command(command_priority=1).response(status_qualifier=1),),
    ),
    "framing.padding-not-zero": (
        (
            lambda s: s.ready().nop_out(data=b"a", edit=padded(1)),
            lambda s: s.ready().nop_out(data=b"a").nop_in(data=b"a", edit=padded(1)),
            lambda s: s.ready().read(5).data_in(5, edit=padded(255)),
        ),
        (lambda s: s.ready().nop_out(data=b"\1", edit=padded(0)).nop_in(data=b"\1"),),
    ),
    "framing.immediate-bit": (
        (
            lambda s: s.ready().command().response(edit=bits(0, 0x40)),
            lambda s: s.ready().write().r2t().data_out(edit=bits(0, 0x40)),
            lambda s: s.ready(ErrorRecoveryLevel="1").snack(edit=bits(0, 0x40)),
        ),
        (lambda s: s.ready().command(immediate=True).response(),),
    ),
    "framing.ahs-in-response": (
        (lambda s: s.ready().command().response(edit=with_ahs), lambda s: s.ready().read().data_in(edit=with_ahs)),
        (lambda s: s.ready().command(ahs=LONG_CDB).response(),),
    ),
    "framing.ahs-in-request": (
        (lambda s: s.ready().nop_out(edit=with_ahs), lambda s: s.login_request(edit=with_ahs)),
        (lambda s: s.ready().command(ahs=LONG_CDB).response(),),
    ),
    "ahs.length": (
        (lambda s: s.ready().command(ahs=b"\0\x20\1\0"), lambda s: s.ready().command(ahs=LONG_CDB[:-4])),
        (lambda s: s.ready().command(ahs=LONG_CDB).response(),),
    ),
    "ahs.reserved-type": (
        (lambda s: s.ready().command(ahs=encode_ahs([Ahs(3, b"\0")])),),
        (lambda s: s.ready().command(ahs=encode_ahs([Ahs(0x41, bytes(5))])).response(),),
    ),
    "ahs.extended-cdb-too-short": (
        (lambda s: s.ready().command(ahs=encode_ahs([Ahs(AhsType.EXTENDED_CDB, b"\0")])),),
        (lambda s: s.ready().command(ahs=encode_ahs([extended_cdb(bytes(17))])).response(),),
    ),
    "ahs.bidirectional-length": (
        (lambda s: s.ready().both(0, ahs=encode_ahs([Ahs(AhsType.BIDIRECTIONAL_READ_LENGTH, bytes(6))])),),
        (lambda s: s.ready().both(0, ahs=TWO_WAYS).response(),),
    ),
    "framing.target-opcode": (
        (
            lambda s: s.ready().nop_in(itt=NO_TAG, to=Direction.TO_TARGET),
            lambda s: s.login_response(to=Direction.TO_TARGET),
        ),
        (lambda s: s.ready().nop_in(itt=NO_TAG, to=Direction.TO_INITIATOR),),
    ),
    "framing.initiator-opcode": (
        (lambda s: s.ready().nop_out(itt=NO_TAG, to=Direction.TO_INITIATOR),),
        (lambda s: s.ready().nop_out(itt=NO_TAG, to=Direction.TO_TARGET),),
    ),
    "digest.header": (
        (
            lambda s: s.ready(**DIGESTS).command(edit=wrong_header_digest),
            lambda s: s.ready(**DIGESTS).read().data_in(edit=wrong_header_digest),
        ),
        (lambda s: s.ready(**DIGESTS).command().response(),),
    ),
    "digest.data": (
        (
            lambda s: s.ready(**DIGESTS).write(512, 512, edit=wrong_data_digest),
            lambda s: s.ready(**DIGESTS).read().data_in(edit=wrong_data_digest),
        ),
        (lambda s: s.ready(**DIGESTS).write(512, 512).response(),),
    ),
    "tmf.request-with-data": ((lambda s: s.ready().tmf(edit=with_data),), (lambda s: s.ready().tmf().tmf_response(),)),
    "tmf.response-with-data": (
        (lambda s: s.ready().tmf().tmf_response(edit=with_data),),
        (lambda s: s.ready().tmf().tmf_response(response=5),),
    ),
    "r2t.with-data": (
        (lambda s: s.ready().write().r2t(edit=with_data),),
        (lambda s: s.ready().write().r2t().data_out().response(),),
    ),
    "logout.request-with-data": (
        (lambda s: s.ready().logout(edit=with_data),),
        (lambda s: s.ready().logout().logout_response(),),
    ),
    "logout.response-with-data": (
        (lambda s: s.ready().logout().logout_response(edit=with_data),),
        (lambda s: s.ready().logout().logout_response(time2wait=3, time2retain=20),),
    ),
}
