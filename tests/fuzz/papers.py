"""Harnesses of what authorises: tickets and credentials signed as an issuer likes, keys."""

from __future__ import annotations

import binascii
import dataclasses
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

import sealed_samples as samples
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fuzz.harness import Harness, NotTakenError, nothing_more, split
from fuzz.objects import REALM, sealed_with
from simulator import trainer

from protocol.errors import MalformedObjectError, ProtocolError, SignatureError
from protocol.handshake import auth_message
from protocol.objects import EpochStatement, TechnicianCertificate, Ticket
from protocol.queries import Auth
from protocol.sealed import BODY_LIMIT, ObjectType, Sealed, SubjectKey
from protocol.values import Op, Role
from svcport.authorisation import holders
from svcport.authorisation.credentials import Certificates, Credential
from svcport.authorisation.keys import agent
from svcport.authorisation.keys.keyfile import KeyFileSigner, unlock
from svcport.authorisation.keys.keyplace import StoredReference
from svcport.authorisation.keys.references import KeyReference, parse_reference
from svcport.authorisation.policy import judge
from svcport.authorisation.request import PermitRequest
from svcport.authorisation.standing import Moment
from svcport.authorisation.tickets import (
    HeldTicket,
    Holder,
    TicketReader,
    judge_ticket,
    ticket_file,
)
from svcport.authorisation.trust import Trust, Vendor
from svcport.errors import RefusedError
from svcport.simulator.credentials import Credential as LockCredential
from svcport.simulator.credentials import judge_auth
from svcport.simulator.refusals import RefusedError as RefusedByLockError
from svcport.simulator.state import LockState
from svcport.simulator.tickets import check_unused
from svcport.simulator.tickets import judge_ticket as judge_ticket_in_lock

NOW = datetime(2026, 11, 20, tzinfo=UTC)
HASH = bytes(range(32))
WANTED = PermitRequest(
    op=Op.ROLLBACK,
    lock_serial="SL2-000123",
    lock_model="SL-2",
    lock_batch="2026-31",
    image_digest=samples.IMAGE,
    security_counter=3,
)
EPOCH = EpochStatement(min_epoch=1, issued_at=1_795_000_000, revoked=(bytes(8),), number=1)


@cache
def _trust() -> Trust:
    vendor = Vendor("fuzz", REALM)
    return Trust(vendor, (samples.ROOT.subject,), samples.MAKER.subject, (), b"")


@cache
def _issuer() -> Sealed:
    signer, body = samples.BODIES["issuer"]
    return body.seal(REALM, signer)


@cache
def _lock_state() -> LockState:
    return trainer.power_up(trainer.fresh_flash({})).core.state


def _ticket(data: bytes) -> HeldTicket:
    return TicketReader(_trust()).open(data, "a ticket")


def _check_ticket(data: bytes, held: HeldTicket) -> None:
    assert held.build() == data
    _judge_ticket(held)


def _judge_ticket(held: HeldTicket) -> None:
    holder = Holder(samples.TECHNICIAN.subject.key_id, Role.TECHNICIAN)
    for op in Op:
        request = dataclasses.replace(WANTED, op=op, lock_nonce=samples.NONCE)
        for epoch in (None, EPOCH):
            for no in judge_ticket(held, request, holder, Moment.of(NOW, epoch)):
                assert no.message


def _signed_ticket(data: bytes) -> HeldTicket:
    """The issuer signs whatever body it likes."""
    if len(data) > BODY_LIMIT:
        raise NotTakenError
    ticket = sealed_with(data, ObjectType.TICKET, samples.ISSUER)
    return _ticket(_file(ticket, _issuer().build()))


def _file(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def _check_signed_ticket(data: bytes, held: HeldTicket) -> None:
    _check_ticket(_file(held.sealed.build(), _issuer().build()), held)
    assert held.sealed.unsigned[16:] == data


def _credential(data: bytes) -> Certificates:
    """The issuer gives a technician whatever certificate it likes."""
    if len(data) > BODY_LIMIT:
        raise NotTakenError
    sealed = Sealed.parse(sealed_with(data, ObjectType.TECHNICIAN, samples.ISSUER))
    issuer = _trust().read_issuer(_issuer())
    return Certificates(_issuer(), issuer, sealed, TechnicianCertificate.read(sealed))


def _check_credential(_data: bytes, certificates: Certificates) -> None:
    assert certificates.valid_until.tzinfo is UTC
    assert certificates.holder
    credential = Credential(certificates, samples.TECHNICIAN)
    for op in Op:
        request = dataclasses.replace(WANTED, op=op)
        for no in judge(credential, request, (), EPOCH, NOW):
            assert no.message


def _lock_auth(data: bytes) -> None:
    """A lock judges certificates that the root and the issuer did sign, whatever they say."""
    which, body = split(data, 1)
    if len(body) > BODY_LIMIT:
        raise NotTakenError
    issuer, technician = trainer.issuer_certificate(), trainer.technician_certificate()
    if which[0] & 1:
        issuer = signed_by(trainer.ROOT, ObjectType.ISSUER, body)
    else:
        technician = signed_by(trainer.ISSUER, ObjectType.TECHNICIAN, body)
    message = auth_message(trainer.REALM, HASH, technician)
    auth = Auth(issuer, technician, trainer.TECHNICIAN.sign(message))
    judge_auth(trainer.factory(), _lock_state(), auth, HASH)


def signed_by(key: trainer.Key, kind: ObjectType, body: bytes) -> bytes:
    """As `sealed_with`, in the training realm."""
    head = struct.pack(">4sBB8sH", b"SVT1", kind, 1, key.subject.key_id, len(body) & 0xFFFF)
    message = trainer.REALM.signature_domain + bytes([kind]) + head + body
    return head + body + key.sign(message)


def _lock_ticket(data: bytes) -> None:
    """A lock judges a ticket that a good issuer signed, whatever it says."""
    if len(data) > BODY_LIMIT:
        raise NotTakenError
    ticket = signed_by(trainer.ISSUER, ObjectType.TICKET, data)
    judged = judge_ticket_in_lock(
        trainer.factory(),
        _lock_state(),
        _opener(),
        ticket=ticket,
        issuer=trainer.issuer_certificate(),
        op=Op.ROLLBACK,
        image_digest=HASH,
    )
    check_unused(_lock_state(), judged.ticket)


@cache
def _opener() -> LockCredential:
    technician = trainer.technician_certificate()
    message = auth_message(trainer.REALM, HASH, technician)
    auth = Auth(trainer.issuer_certificate(), technician, trainer.TECHNICIAN.sign(message))
    return judge_auth(trainer.factory(), _lock_state(), auth, HASH)


def _key_file(data: bytes) -> KeyFileSigner:
    """The blob inside is what is changed; base64 would only be in the way."""
    lines = b"-----BEGIN OPENSSH PRIVATE KEY-----\n%b-----END OPENSSH PRIVATE KEY-----\n"
    return unlock(lines % binascii.b2a_base64(data), "a key file", None)


def _check_signer(_data: bytes, signer: KeyFileSigner) -> None:
    signer.subject.verify(signer.sign(b"message"), b"message")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NotTakenError from error


def _reference(data: bytes) -> KeyReference:
    return parse_reference(_text(data))


def _check_reference(_data: bytes, reference: KeyReference) -> None:
    """Written anew it says the same; `svcport setup` stores it so."""
    again = parse_reference(str(reference))
    assert parse_reference(str(again)) == again
    assert again == reference


def _stored(data: bytes) -> StoredReference:
    return StoredReference.parse(data)


def _check_stored(data: bytes, stored: StoredReference) -> None:
    assert stored.build() == data


def _public_key(data: bytes) -> SubjectKey:
    return holders._parse(data.strip())


def _check_public_key(_data: bytes, key: SubjectKey) -> None:
    assert SubjectKey(key.raw) == key


def _agent(data: bytes) -> None:
    """What an agent says: a key blob and a signature."""
    which, answer = split(data, 1)
    if which[0] & 1:
        assert agent._Identity(answer, "").subject().raw
        return
    algorithm = samples.CURVE.subject.algorithm if which[0] & 2 else samples.ROOT.subject.algorithm
    agent._raw_signature(answer, algorithm)


def _tickets() -> Iterator[bytes]:
    for name in ("ticket-counter", "ticket-nonce"):
        signer, body = samples.BODIES[name]
        yield ticket_file(body.seal(REALM, signer), _issuer())


def _bodies(*names: str) -> Iterator[bytes]:
    for name in names:
        signer, body = samples.BODIES[name]
        yield body.seal(REALM, signer).unsigned[16:]


def _ticket_bodies() -> Iterator[bytes]:
    yield from _bodies("ticket-counter", "ticket-nonce")


def _credential_bodies() -> Iterator[bytes]:
    yield from _bodies("technician", "technician-p256")


def _auths() -> Iterator[bytes]:
    yield b"\x00" + Sealed.parse(trainer.technician_certificate()).unsigned[16:]
    yield b"\x01" + Sealed.parse(trainer.issuer_certificate()).unsigned[16:]


def _lock_tickets() -> Iterator[bytes]:
    for paper in (trainer.paper(Op.ROLLBACK, HASH), trainer.paper(Op.RESTORE, HASH, 2000)):
        body = Ticket.read(Sealed.parse(paper.ticket))
        yield Sealed.parse(body.seal(trainer.REALM, trainer.ISSUER).build()).unsigned[16:]


def _key_files() -> Iterator[bytes]:
    """An Ed25519 key as OpenSSH writes it without a passphrase, and the face of a locked one."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
    raw = key.public_key().public_bytes_raw()
    public = _ssh(b"ssh-ed25519", raw)
    private = bytes(8) + public + _ssh(b"\x05" * 32 + raw, b"")
    private += bytes(range(1, 1 + -len(private) % 8))
    magic = b"openssh-key-v1\0"
    yield magic + _ssh(b"none", b"none", b"") + bytes([0, 0, 0, 1]) + _ssh(public, private)
    rounds = _ssh(b"salt") + bytes([0, 0, 0, 16])
    head = magic + _ssh(b"aes256-ctr", b"bcrypt", rounds) + bytes([0, 0, 0, 1])
    yield head + _ssh(public, bytes(128))


def _references() -> Iterator[bytes]:
    yield b"keys/id_ed25519"
    yield b"ssh-agent:SHA256:" + b"A" * 43
    yield b"ssh-agent:me@work"
    yield b"pkcs11:token=SVC%20card;object=key;id=%01%02;type=private?module-path=/usr/lib/p11.so"


def _stored_references() -> Iterator[bytes]:
    for text in _references():
        yield StoredReference(parse_reference(text.decode()), samples.ROOT.subject).build()


def _public_keys() -> Iterator[bytes]:
    """The last has a compressed point, over which a library raises what nobody expects."""
    curve = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    edwards = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x05" * 32).public_key()
    for key in (edwards, curve):
        yield key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" me@work"
        yield key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        yield SubjectKey.of(key).raw.hex().encode()
    kind = b"ecdsa-sha2-nistp256"
    blob = _ssh(kind, b"nistp256", b"\x02" + samples.CURVE.subject.raw[2:34])
    yield kind + b" " + binascii.b2a_base64(blob, newline=False)


def _ssh(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _agent_answers() -> Iterator[bytes]:
    yield b"\x01" + _ssh(b"ssh-ed25519", samples.ROOT.subject.raw[1:])
    yield b"\x01" + _ssh(b"ecdsa-sha2-nistp256", b"nistp256", samples.CURVE.subject.raw[1:])
    yield b"\x00" + _ssh(_ssh(b"ssh-ed25519", bytes(64)))
    yield b"\x02" + _ssh(_ssh(b"ecdsa-sha2-nistp256", _ssh(b"\x00\xff", bytes(33))))


_TICKET = (MalformedObjectError, SignatureError)
HARNESSES = (
    Harness("ticket-file", "a ticket file", _ticket, _TICKET, _check_ticket, _tickets, 2000),
    Harness(
        "ticket-signed",
        "any ticket that is signed",
        _signed_ticket,
        _TICKET,
        _check_signed_ticket,
        _ticket_bodies,
        BODY_LIMIT,
    ),
    Harness(
        "credential-signed",
        "any credential that is signed",
        _credential,
        (MalformedObjectError,),
        _check_credential,
        _credential_bodies,
        BODY_LIMIT,
    ),
    Harness(
        "lock-auth",
        "certificates, in a lock",
        _lock_auth,
        (RefusedByLockError,),
        nothing_more,
        _auths,
        BODY_LIMIT + 1,
    ),
    Harness(
        "lock-ticket",
        "tickets, in a lock",
        _lock_ticket,
        (RefusedByLockError,),
        nothing_more,
        _lock_tickets,
        BODY_LIMIT,
    ),
    Harness(
        "key-file", "a private-key file", _key_file, (RefusedError,), _check_signer, _key_files
    ),
    Harness(
        "key-reference",
        "where a key is",
        _reference,
        (RefusedError,),
        _check_reference,
        _references,
        300,
    ),
    Harness(
        "key-stored",
        "a stored key reference",
        _stored,
        (ValueError, ProtocolError, RefusedError),
        _check_stored,
        _stored_references,
        400,
    ),
    Harness(
        "public-key",
        "a technician's public key",
        _public_key,
        (ValueError, UnsupportedAlgorithm, ProtocolError),
        _check_public_key,
        _public_keys,
        1024,
    ),
    Harness(
        "ssh-agent",
        "answers of an ssh-agent",
        _agent,
        (agent.AgentError,),
        nothing_more,
        _agent_answers,
        600,
    ),
)
