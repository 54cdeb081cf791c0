"""DNS messages, checked against another implementation and against anything at all."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from dnslib import EDNS0, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from runtime.network import dns


def query(name: str, kind: str = "A", edns: int = 0) -> bytes:
    record = DNSRecord.question(name, kind)
    if edns:
        record.add_ar(EDNS0(udp_len=edns))
    return bytes(record.pack())


def test_question_is_read() -> None:
    question = dns.parse(query("Web.Example.TEST", "AAAA"))
    assert (question.name, question.type, question.cls) == ("web.example.test", dns.AAAA, dns.IN)
    assert question.room_bytes == 512


def test_room_is_what_the_client_offers_within_reason() -> None:
    assert dns.parse(query("a", edns=4096)).room_bytes == 1232
    assert dns.parse(query("a", edns=900)).room_bytes == 900
    assert dns.parse(query("a", edns=100)).room_bytes == 512


def test_reply_is_understood_by_others() -> None:
    question = dns.parse(query("web"))
    reply = question.reply(
        dns.NOERROR, [(dns.A, bytes([10, 0, 0, 2])), (dns.AAAA, ip_address("fd00::2").packed)], ttl_s=5
    )
    record = DNSRecord.parse(reply)
    assert (record.header.id, record.header.qr, record.header.ra) == (question.id, 1, 1)
    assert [str(entry.rdata) for entry in record.rr] == ["10.0.0.2", "fd00::2"]
    assert {str(entry.rname) for entry in record.rr} == {"web."}
    assert record.rr[0].ttl == 5
    assert str(record.q.qname) == "web."


def test_names_of_pointers_are_understood_by_others() -> None:
    encoded = dns.encode_name("web.mine")
    assert encoded is not None
    question = dns.parse(query("2.0.0.10.in-addr.arpa", "PTR"))
    record = DNSRecord.parse(question.reply(dns.NOERROR, [(dns.PTR, encoded)]))
    assert str(record.rr[0].rdata) == "web.mine."


def test_too_many_records_are_cut_off_and_marked_over_udp_only() -> None:
    question = dns.parse(query("web"))
    records = [(dns.A, bytes([10, 0, 0, number])) for number in range(60)]
    cut = question.reply(dns.NOERROR, records)
    assert len(cut) <= 512
    assert DNSRecord.parse(cut).header.tc == 1
    whole = DNSRecord.parse(question.reply(dns.NOERROR, records, udp=False))
    assert (whole.header.tc, len(whole.rr)) == (0, 60)


@pytest.mark.parametrize("at", range(len(query("web.example"))))
def test_query_cut_at_any_byte_is_malformed(at: int) -> None:
    with pytest.raises(dns.Malformed) as refused:
        dns.parse(query("web.example")[:at])
    assert refused.value.reply is None or refused.value.reply[3] & 0x0F == dns.FORMERR


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_malformed(message: bytes) -> None:
    try:
        reply: bytes | None = dns.parse(message).reply(dns.SERVFAIL)
    except dns.Malformed as error:
        reply = error.reply
    assert reply is None or reply[:2] == message[:2]


@given(st.binary(max_size=60), st.integers(0, 40))
def test_any_bytes_after_a_header_are_read_or_malformed(rest: bytes, flags: int) -> None:
    try:
        dns.parse(bytes([0, 1, flags, 0, 0, 1, 0, 0, 0, 0, 0, 1]) + rest)
    except dns.Malformed:
        pass


def test_other_requests_are_answered_as_not_implemented_or_malformed() -> None:
    update = bytearray(query("web"))
    update[2] |= 0x28
    with pytest.raises(dns.Malformed) as refused:
        dns.parse(bytes(update))
    assert refused.value.reply is not None
    assert refused.value.reply[3] & 0x0F == dns.NOTIMP
    answer = bytearray(query("web"))
    answer[2] |= 0x80
    with pytest.raises(dns.Malformed) as refused:
        dns.parse(bytes(answer))
    assert refused.value.reply is None


def test_reverse_names_are_addresses() -> None:
    assert dns.reverse_address("2.0.17.172.in-addr.arpa") == ip_address("172.17.0.2")
    six = "2" + ".0" * 29 + ".d.f"
    digits = ".".join(reversed("fd00" + "0" * 27 + "2"))
    assert dns.reverse_address(digits + ".ip6.arpa") == ip_address("fd00::2")
    for wrong in ("x.0.17.172.in-addr.arpa", "0.17.172.in-addr.arpa", "web", six, "300.0.0.1.in-addr.arpa"):
        assert dns.reverse_address(wrong) is None


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64, ".".join(["a" * 60] * 5)])
def test_impossible_names_are_not_encoded(name: str) -> None:
    assert dns.encode_name(name) is None


def test_answer_must_belong_to_the_question() -> None:
    asked = query("web")
    good = DNSRecord.parse(asked).reply().pack()
    assert dns.answers(asked, good)
    assert not dns.answers(asked, bytes([good[0] ^ 1]) + good[1:])
    assert not dns.answers(asked, asked)
    other = DNSRecord.question("bank")
    other.header.id = DNSRecord.parse(asked).header.id
    assert not dns.answers(asked, other.reply().pack())
    assert not dns.answers(asked, b"")
