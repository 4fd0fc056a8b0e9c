"""Captures with findings as comments: everything that was there is still there, and nothing else is new."""

from __future__ import annotations

import gzip
import io
import os
import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tests.captures.review_samples import at, finding, review

from iscsi_captures.blocks import LARGEST_BLOCK, BlockType, encode_block, encode_options, read_blocks
from iscsi_captures.pcapng import Interface, Packet, Section, read, read_packets
from iscsi_captures.reading import CaptureError
from iscsi_captures.reading.files import Input
from iscsi_captures.review.annotate import Annotator, annotate, comment_text

ORDERS = ("<", ">")
TEXT = "MUST, target, statsn.scsi-response (R7143-4.2.2.2-05): StatSN 705034921 where 705034920 was next. The target"


def section(order="<", *, length=-1, comment=None):
    """A section header with its interface."""
    head = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, length)
    options = encode_options([(1, comment)] if comment else [], order)
    interface = struct.pack(order + "HHI", 1, 0, 96) + encode_options([(2, b"eth0"), (9, b"\x09")], order)
    return encode_block(BlockType.SECTION_HEADER, head, options, order=order) + encode_block(
        BlockType.INTERFACE_DESCRIPTION, interface, order=order
    )


def enhanced(order="<", data=b"packet", *, options=b"", time=5, kind=BlockType.ENHANCED_PACKET, claim=None):
    """An enhanced or obsolete packet block."""
    index = (0,) if kind == BlockType.ENHANCED_PACKET else (0, 0)
    layout = "IIIII" if kind == BlockType.ENHANCED_PACKET else "HHIIII"
    length = len(data) if claim is None else claim
    head = struct.pack(order + layout, *index, 0, time, length, len(data) + 9)
    return encode_block(kind, head, data, bytes(-len(data) & 3), options, order=order)


def simple(order="<", data=b"bare"):
    """A simple packet block."""
    return encode_block(BlockType.SIMPLE_PACKET, struct.pack(order + "I", len(data)), data, order=order)


def other(order="<", kind=0x0BAD):
    """A block that nothing here knows: it has to come through."""
    return encode_block(kind, b"secrets and names", order=order)


def pcap(order="<", magic=0xA1B2C3D4, packets=((7, 250_000, b"first"), (8, 3, b"second")), link=1):
    """A classic file."""
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    return head + b"".join(
        struct.pack(order + "4I", seconds, fraction, len(data), len(data) + 4) + data
        for seconds, fraction, data in packets
    )


def annotated(data, *frames, **fields):
    """What comes out for a file with such bytes, with one finding on each of the frames."""
    return annotated_with(data, {frame: [comment_text(finding(frame=at(frame), **fields))] for frame in frames})


def annotated_with(data, comments):
    return b"".join(Annotator(comments).blocks(Input(io.BytesIO(data))))


def blocks(data):
    return list(read_blocks(io.BytesIO(data)))


@pytest.mark.parametrize("order", ORDERS)
def test_finding_becomes_the_comment_of_its_packet(order):
    """In the byte order of the section, before the options that are there."""
    kept = encode_options([(1, b"kept"), (2, b"\0\0\0\2"), (0x8001, b"odd")], order)
    data = section(order) + enhanced(order) + other(order) + enhanced(order, b"seven!!", options=kept, time=9)

    made = annotated(data, 2)
    before, after = blocks(data), blocks(made)

    assert [each.body for each in after[:-1]] == [each.body for each in before[:-1]]
    assert {each.order for each in after} == {order}
    assert after[-1].body.endswith(kept)
    packet = list(read_packets(io.BytesIO(made)))[1]
    assert packet.comments[0].startswith(TEXT)
    assert packet.comments[1:] == ("kept",)
    assert (packet.number, packet.time_ns, packet.data, packet.original_length) == (2, 9, b"seven!!", 16)


def test_packet_without_options_gets_an_end_mark():
    """A list of options ends with one, where the file is written by the book."""
    made = annotated(section() + enhanced(), 1)

    assert blocks(made)[-1].body.endswith(bytes(4))
    assert len(next(read_packets(io.BytesIO(made))).comments) == 1


def test_frames_are_counted_over_sections_and_kinds():
    """As Wireshark counts: every packet block of every section."""
    data = section("<") + enhanced("<") + simple("<") + section(">") + other(">")
    data += enhanced(">", kind=BlockType.OBSOLETE_PACKET) + enhanced(">")

    packets = list(read_packets(io.BytesIO(annotated(data, 3, 4))))

    assert [len(packet.comments) for packet in packets] == [0, 0, 1, 1]


@pytest.mark.parametrize("order", ORDERS)
def test_simple_packet_becomes_an_enhanced_one(order):
    """It has no place for a comment. What the snap length left of it stays, and so does its length."""
    data = section(order) + simple(order, b"x" * 96) + simple(order, b"abcde")

    one, two = read_packets(io.BytesIO(annotated(data, 1)))

    assert (one.data, one.original_length, one.time_ns, len(one.comments)) == (b"x" * 96, 96, 0, 1)
    assert (two.data, two.time_ns, two.comments) == (b"abcde", None, ())


def test_given_length_of_a_section_is_unknown_afterwards():
    """It would be too short with a comment in the section; without one it stays."""
    data = section(length=100) + enhanced()

    assert blocks(annotated(data, 1))[0].unpack("q", 8) == (-1,)
    assert annotated(data) == data


def test_finding_without_a_packet_stands_in_the_section():
    """What was found when the capture was over is about the file, beside the comments that it has."""
    data = section(comment=b"lab 3") + enhanced() + section() + enhanced()

    first, second = (item for item in read(io.BytesIO(annotated(data, 0))) if isinstance(item, Section))

    assert first.comments[0].startswith(TEXT)
    assert first.comments[1:] == ("lab 3",)
    assert second.comments == ()


def test_packet_that_contradicts_itself_stays_as_it_is():
    """A block whose packet is longer than the block has no place where options begin."""
    data = section() + enhanced(claim=1000)

    assert annotated(data, 1) == data


@given(
    st.sampled_from(ORDERS),
    st.lists(st.sampled_from(["enhanced", "obsolete", "commented", "other"]), max_size=8),
    st.sets(st.integers(1, 8)),
)
def test_nothing_else_changes(order, kinds, frames):
    """Whatever blocks a file has: with comments taken away, what comes out reads as what went in."""
    make = {
        "enhanced": enhanced(order),
        "obsolete": enhanced(order, b"old", kind=BlockType.OBSOLETE_PACKET),
        "commented": enhanced(order, options=encode_options([(1, b"mine")], order)),
        "other": other(order),
    }
    data = section(order) + b"".join(make[kind] for kind in kinds)

    before = list(read(io.BytesIO(data)))
    after = list(read(io.BytesIO(annotated(data, *frames))))

    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if isinstance(old, Packet):
            added = 1 if old.number in frames else 0
            assert new.comments[added:] == old.comments
            assert len(new.comments) == len(old.comments) + added
            assert new == Packet(old.number, old.time_ns, old.interface, old.data, old.original_length, new.comments)
        else:
            assert new == old


@given(st.binary(max_size=300), st.integers(0, 300))
def test_damage_ends_the_copy_without_an_error(noise, cut):
    """What stands before the damage is whole; whoever reads it meets no half block."""
    whole = section() + enhanced() + enhanced()
    data = (whole + noise)[: max(28, cut)]

    made = annotated(data, 1)

    assert made == b"" or blocks(made)[0].block_type == BlockType.SECTION_HEADER


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("magic", "ticks"), [(0xA1B2C3D4, 10**6), (0xA1B23C4D, 10**9)])
def test_pcap_becomes_pcapng(order, magic, ticks):
    """The same packets with the same times, in the resolution that they had."""
    items = list(read(io.BytesIO(annotated(pcap(order, magic, link=113), 0, 2))))

    assert isinstance(items[0], Section)
    assert items[0].comments[0].startswith(TEXT)
    assert items[1] == Interface(link_type=113, snap_length=65535, ticks_per_second=ticks)
    one, two = items[2:]
    assert (one.time_ns, one.data, one.original_length, one.comments) == (
        7 * 10**9 + 250_000 * 10**9 // ticks,
        b"first",
        9,
        (),
    )
    assert (two.time_ns, two.data, len(two.comments)) == (8 * 10**9 + 3 * 10**9 // ticks, b"second", 1)


@pytest.mark.parametrize("cut", [10, 24, 30, 42, 60])
def test_pcap_that_was_cut_off(cut):
    """Whole packets are kept, the rest is not made up."""
    made = annotated(pcap()[:cut], 1)

    assert (made == b"") is (cut < 24)
    assert len(list(read_packets(io.BytesIO(made))) if made else []) == (cut >= 45)


def test_packet_of_absurd_length_ends_a_pcap():
    """No memory is taken for what a damaged length claims."""
    data = pcap(packets=((1, 1, b"good"),)) + struct.pack("<4I", 2, 2, 0x7FFFFFFF, 4) + b"rest"

    assert [packet.data for packet in read_packets(io.BytesIO(annotated(data)))] == [b"good"]


def test_blocks_come_while_the_file_is_read():
    """Nothing is gathered: the first block is there before the tenth part of the file was read."""
    data = section() + enhanced(data=bytes(60_000)) * 200
    source = Input(io.BytesIO(data))

    next(Annotator({}).blocks(source))

    assert source.taken < len(data) // 10


def test_comments_that_have_no_room_are_not_counted():
    """A block has an end; what is beyond it stays in the review."""
    huge = "y" * 65_000
    annotator = Annotator({1: [huge] * 400})

    made = b"".join(annotator.blocks(Input(io.BytesIO(section() + enhanced()))))

    (packet,) = read_packets(io.BytesIO(made))
    assert len(packet.comments) == annotator.written
    assert 200 < annotator.written < 400
    assert len(made) < LARGEST_BLOCK + 1000


def test_comment_is_one_legible_line():
    """Whatever the capture holds, Wireshark's list shows a line."""
    text = comment_text(finding(message="name\n'\x1b[31m'\u202e", clause="-", meaning=""))

    assert text == "MUST, target, statsn.scsi-response: name '\\x1b[31m'\\u202e"


def test_comment_fits_an_option():
    """65535 bytes are the most, and no character is cut in two."""
    text = comment_text(finding(message="ä" * 70_000))

    assert 65_000 < len(text.encode()) <= 65_535
    assert text.endswith("ä")


def written(path, data):
    path.write_bytes(data)
    return path


def packets_of(path):
    return list(read_packets(io.BytesIO(path.read_bytes())))


def test_one_file_becomes_one_file(tmp_path):
    """Under the name asked for, with the access rights of the original, and nothing else left in the folder."""
    source = written(tmp_path / "a.pcapng", section() + enhanced() + enhanced())
    source.chmod(0o640)

    count = annotate([source], review(findings=[finding(frame=at(2)), finding(frame=at(9))]), tmp_path / "out.pcapng")

    assert count == 1
    assert (tmp_path / "out.pcapng").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pcapng", "out.pcapng"]
    assert [len(each.comments) for each in packets_of(tmp_path / "out.pcapng")] == [0, 1]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_files_are_read(tmp_path, compress):
    """The copy is plain, whatever the original is."""
    source = written(tmp_path / "a.pcapng.packed", compress(section() + enhanced()))
    out = tmp_path / "out.pcapng"

    assert annotate([source], review(findings=[finding(frame=at(1))]), out) == 1
    assert out.read_bytes() == annotated(section() + enhanced(), 1)


def test_several_files_go_into_a_folder(tmp_path):
    """Each keeps its frame numbers; equal names are told apart."""
    (tmp_path / "other").mkdir()
    sources = [
        written(tmp_path / "path.pcap.gz", gzip.compress(pcap())),
        written(tmp_path / "other" / "path.pcapng", section() + enhanced()),
    ]
    found = [finding(frame=at(2, 0)), finding(frame=at(1, 1)), finding(frame=at(1, 1), rule="other.rule")]

    assert annotate(sources, review(findings=found), tmp_path / "new" / "out") == 3

    one, two = (tmp_path / "new" / "out" / name for name in ("path.annotated.pcapng", "path-2.annotated.pcapng"))
    assert [len(each.comments) for each in packets_of(one)] == [0, 1]
    assert [len(each.comments) for each in packets_of(two)] == [2]


def test_several_files_do_not_go_into_a_file(tmp_path):
    """A file of that name is not touched."""
    sources = [written(tmp_path / name, section() + enhanced()) for name in ("a", "b")]
    out = written(tmp_path / "out.pcapng", b"mine")

    with pytest.raises(CaptureError, match="several files go into a folder"):
        annotate(sources, review(findings=[]), out)
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize("how", ["same", "symbolic", "hard"])
def test_input_is_never_overwritten(tmp_path, how):
    """Under none of its names."""
    source = written(tmp_path / "a.pcapng", section() + enhanced())
    out = tmp_path / "b.pcapng"
    if how == "same":
        out = source
    elif how == "symbolic":
        out.symlink_to(source)
    else:
        os.link(source, out)

    with pytest.raises(CaptureError, match="stays as it is"):
        annotate([source], review(findings=[]), out)
    assert source.read_bytes() == section() + enhanced()


def test_streams_are_refused(tmp_path):
    """They are gone once they were reviewed."""
    for source in ("-", io.BytesIO(section())):
        with pytest.raises(CaptureError, match="only files"):
            annotate([source], review(findings=[]), tmp_path / "out.pcapng")


@pytest.mark.parametrize("data", [b"", b"no capture at all"])
def test_what_is_no_capture_leaves_nothing_behind(tmp_path, data):
    """One line, and no file that was begun."""
    source = written(tmp_path / "a.txt", data)

    with pytest.raises(CaptureError, match="neither pcap nor pcapng"):
        annotate([source], review(findings=[]), tmp_path / "out.pcapng")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
