"""The forms of RFC 9420 (2.1, 5.3, 7.2, 13): one encoding of each value, and the unknown skipped where it may be.

Also the libraries' gaps that we close: lengths, points and encodings that they would take.
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_crypto import hpke, sodium
from pourparler_crypto.errors import CryptoError, Malformed, NotAcceptable, NotAuthentic, Unsupported, UsageError
from pourparler_crypto.mls import (
    CHARTER,
    SUPPORTED_SUITES,
    Group,
    ReceivedProposal,
    limits,
    make_key_package,
    read_key_package,
)
from pourparler_crypto.mls.codec import (
    OPAQUE,
    UINT16S,
    optional,
    read_length,
    vector,
    vl,
    write_length,
)
from pourparler_crypto.mls.extensions import CREDENTIAL, EXTENSIONS, Lifetime, own_capabilities
from pourparler_crypto.mls.forging import package_message, package_of, signed_leaf, signed_package
from pourparler_crypto.mls.framing import PROPOSAL_CONTENT, frame, read_authenticated_content
from pourparler_crypto.mls.nodes import KEY_PACKAGE
from pourparler_crypto.mls.proposals import PROPOSAL
from pourparler_crypto.mls.suites import labeled, suite_of
from pourparler_crypto.testing import LIFETIME, Room

# 2.1.2: variable-size vectors


@pytest.mark.parametrize("length", [0, 1, 63, 64, 16_383, 16_384, 2**30 - 1])
def test_a_length_has_one_encoding_and_reads_back(length: int) -> None:
    encoded = write_length(length)
    assert read_length(encoded, 0) == (length, len(encoded))
    assert len(encoded) == (1 if length < 64 else 2 if length < 16_384 else 4)


@pytest.mark.parametrize(
    "encoded",
    ["4000", "403f", "80000000", "80003fff", "8000003f", "c0", "ff", "c000000000000001", "", "40", "800040"],
)
def test_a_length_that_is_not_minimal_or_not_whole_is_malformed(encoded: str) -> None:
    with pytest.raises(Malformed):
        read_length(bytes.fromhex(encoded), 0)


def test_a_length_past_2_to_30_is_never_written() -> None:
    with pytest.raises(UsageError):
        write_length(2**30)


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_whatever_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    for codec in (OPAQUE, UINT16S, EXTENSIONS, CREDENTIAL, PROPOSAL, optional(OPAQUE), vector(OPAQUE)):
        try:
            value = codec.decode(data, "x")
        except Malformed:
            continue
        assert codec.write(value) == data  # type: ignore[arg-type]


def test_a_vector_counts_bytes_and_must_end_with_an_element() -> None:
    assert vector(OPAQUE).decode(b"\x03\x01a\x00", "x") == (b"a", b"")
    for bad in (b"\x02\x02ab", b"\x01\x01a", b"\x03\x01a"):
        with pytest.raises(Malformed):
            vector(OPAQUE).decode(bad, "x")
    with pytest.raises(Malformed):
        UINT16S.decode(b"\x03\x00\x01\x00", "x")


def test_an_optional_is_0_or_1_and_nothing_else() -> None:
    assert optional(OPAQUE).decode(b"\x00", "x") is None
    assert optional(OPAQUE).decode(b"\x01\x00", "x") == b""
    for octet in (2, 128, 255):
        with pytest.raises(Malformed):
            optional(OPAQUE).decode(bytes((octet, 0)), "x")


def test_bytes_behind_a_value_are_malformed() -> None:
    with pytest.raises(Malformed):
        OPAQUE.decode(b"\x01ab", "x")


# 5.3, 12.1, 13.4, 13.5: what is unknown


def test_unknown_credential_and_proposal_types_cannot_be_skipped() -> None:
    for kind in (0x0000, 0x0003, 0x0A0A, 0xF000):
        with pytest.raises(Malformed):
            CREDENTIAL.decode(kind.to_bytes(2) + b"\x00", "x")
    for kind in (0x0000, 0x0008, 0x0A0A, 0xF000):
        with pytest.raises(Malformed):
            PROPOSAL.decode(kind.to_bytes(2) + b"\x00", "x")


def test_unknown_extensions_and_capabilities_pass() -> None:
    """GREASE (13.5): random values in lists are no reason to refuse."""
    suite = suite_of(1)
    bundle = make_key_package(1, b"x", lifetime=LIFETIME)
    package = package_of(bundle)
    signer = suite.signer(bundle.signature_private)
    grease = (0x0A0A, 0x1A1A, 0xEAEA)
    old = package.leaf_node.capabilities
    capabilities = replace(
        old,
        versions=(*old.versions, 0x0A0A),
        cipher_suites=(*grease, *old.cipher_suites),
        extensions=(*old.extensions, *grease),
        proposals=grease,
        credentials=(*grease, *old.credentials),
        raw=b"",
    )
    leaf = signed_leaf(
        package.leaf_node, suite, signer, capabilities=capabilities, extensions=((0x1A1A, b"grease"),)
    )
    made = signed_package(package, suite, signer, leaf_node=leaf, extensions=((0xEAEA, b"more"),))
    assert read_key_package(package_message(made)).credential == b"x"
    room = Room(1, 2)
    room.commit(room.members[0])
    pending = room.members[0].stage(add=[package_message(made)])
    assert room.members[1].staged(pending.commit).apply().epoch == pending.staged.epoch
    joined = Group.join(
        replace(bundle, key_package=package_message(made)),
        pending.welcome or b"",
        ratchet_tree=pending.ratchet_tree,
    )
    assert joined.epoch_authenticator == pending.staged.apply().epoch_authenticator


def test_two_extensions_of_one_type_are_malformed_wherever_they_stand() -> None:
    twice = ((CHARTER, b"a"), (CHARTER, b"b"))
    with pytest.raises(Malformed):
        EXTENSIONS.decode(EXTENSIONS.write(twice), "x")
    suite = suite_of(1)
    bundle = make_key_package(1, b"x", lifetime=LIFETIME)
    signer = suite.signer(bundle.signature_private)
    for made in (
        signed_package(package_of(bundle), suite, signer, extensions=twice),
        signed_package(
            package_of(bundle),
            suite,
            signer,
            leaf_node=signed_leaf(package_of(bundle).leaf_node, suite, signer, extensions=twice),
        ),
    ):
        with pytest.raises(Malformed):
            read_key_package(package_message(made))


# 10.1: what read_key_package judges


def test_a_key_package_is_read_for_its_suite_and_time() -> None:
    bundle = make_key_package(1, b"who", lifetime=(1000, 2000))
    info = read_key_package(bundle.key_package, suite=1, now=1500)
    assert (info.credential, info.suite) == (b"who", 1)
    assert info.ref == package_of(bundle).ref(suite_of(1))
    with pytest.raises(NotAcceptable, match="suite"):
        read_key_package(bundle.key_package, suite=3)
    for now in (999, 2001):
        with pytest.raises(NotAcceptable, match="lifetime"):
            read_key_package(bundle.key_package, now=now)
    long = make_key_package(1, b"who", lifetime=(0, limits.MAX_LIFETIME + 1))
    with pytest.raises(NotAcceptable, match="too long"):
        read_key_package(long.key_package, now=1500)
    read_key_package(long.key_package)


def test_a_key_package_of_an_unknown_suite_or_with_a_certificate_is_refused() -> None:
    suite = suite_of(1)
    bundle = make_key_package(1, b"x", lifetime=LIFETIME)
    signer = suite.signer(bundle.signature_private)
    unknown = signed_package(package_of(bundle), suite, signer, cipher_suite=0x0007)
    with pytest.raises(NotAcceptable, match="not supported"):
        read_key_package(package_message(unknown))
    capabilities = replace(own_capabilities(), credentials=(1, 2), raw=b"")
    leaf = signed_leaf(
        package_of(bundle).leaf_node, suite, signer, credential=(2, (b"cert",)), capabilities=capabilities
    )
    with pytest.raises(NotAcceptable, match="basic"):
        read_key_package(package_message(signed_package(package_of(bundle), suite, signer, leaf_node=leaf)))


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_signature_key_of_the_wrong_length_is_malformed(suite: int, size: int) -> None:
    chosen = suite_of(suite)
    bundle = make_key_package(suite, b"x", lifetime=LIFETIME)
    signer = chosen.signer(bundle.signature_private)
    leaf = signed_leaf(package_of(bundle).leaf_node, chosen, signer, signature_key=bytes(size))
    with pytest.raises(Malformed):
        read_key_package(package_message(signed_package(package_of(bundle), chosen, signer, leaf_node=leaf)))


def test_a_lifetime_that_ends_before_it_begins_is_never_made_and_never_accepted() -> None:
    with pytest.raises(UsageError):
        make_key_package(1, b"x", lifetime=(2, 1))
    suite = suite_of(1)
    bundle = make_key_package(1, b"x", lifetime=LIFETIME)
    signer = suite.signer(bundle.signature_private)
    leaf = signed_leaf(package_of(bundle).leaf_node, suite, signer, source=(KEY_PACKAGE, Lifetime(2000, 1000)))
    made = package_message(signed_package(package_of(bundle), suite, signer, leaf_node=leaf))
    with pytest.raises(NotAcceptable):
        read_key_package(made, now=1500)


# 12.1.8: proposals by an external sender


def external(room: Room, kind: int, body: bytes, index: int = 0, signer: object = None) -> bytes:
    """A proposal by the external sender with this index, signed by ``signer``."""
    context = room.members[0].group._state.context
    framed = frame(context.group_id, context.epoch, (2, index), b"", PROPOSAL_CONTENT, kind.to_bytes(2) + body)
    content = read_authenticated_content(b"\x00\x01" + framed + vl(bytes(64)))
    signature = signer.sign(labeled(b"FramedContentTBS", content.tbs(context.raw)))  # type: ignore[attr-defined]
    return b"\x00\x01\x00\x01" + framed + vl(signature)


def test_a_listed_external_sender_may_propose_and_an_update_is_not_its_to_make() -> None:
    signer = suite_of(1).signer(bytes(32))
    senders = vl(vl(signer.public) + b"\x00\x01" + vl(b"outside"))
    room = Room(1, 4, extensions=((5, senders),))
    message = external(room, 3, (3).to_bytes(4), signer=signer)
    results = [device.receive(message) for device in room.members]
    assert all(isinstance(result, ReceivedProposal) and result.sender is None for result in results)
    other = suite_of(1).signer(b"\x01" * 32)
    for bad in (
        external(room, 3, (2).to_bytes(4), signer=other),
        external(room, 3, (2).to_bytes(4), index=1, signer=signer),
    ):
        with pytest.raises(NotAuthentic):
            room.members[0].group.decrypt(bad)
    leaf = room.members[1].group._state.tree.leaf(1)
    assert leaf is not None
    with pytest.raises((Malformed, NotAcceptable)):
        room.members[0].group.decrypt(external(room, 2, leaf.raw, signer=signer))
    with pytest.raises((Malformed, Unsupported)):
        room.members[0].group.decrypt(external(room, 6, b"\x00", signer=signer))
    gone = room.members[3]
    assert room.commit(room.members[0], proposals=[results[0].ref]) == [gone]  # type: ignore[union-attr]


# The libraries


def test_ed25519_takes_only_right_lengths() -> None:
    pair = sodium.ed25519_keypair(bytes(32))
    signature = sodium.ed25519_sign(pair, b"m")
    sodium.ed25519_verify(pair[32:], b"m", signature)
    for public in (pair[32:-1], pair[32:] + b"\x00", b""):
        with pytest.raises(Malformed):
            sodium.ed25519_verify(public, b"m", signature)
    for bad in (signature[:-1], signature + b"\x00", b"", bytes(64)):
        with pytest.raises(NotAuthentic):
            sodium.ed25519_verify(pair[32:], b"m", bad)
    # One byte moved between signature and message is the same bytes to libsodium's combined form.
    with pytest.raises(NotAuthentic):
        sodium.ed25519_verify(pair[32:], b"", signature + b"m")
    for call in (
        lambda: sodium.ed25519_keypair(bytes(31)),
        lambda: sodium.ed25519_sign(bytes(63), b""),
        lambda: sodium.x25519_public(bytes(33)),
    ):
        with pytest.raises(UsageError):
            call()


def test_an_ed25519_key_of_small_order_verifies_nothing() -> None:
    """OpenSSL takes the identity point; one verifier for all, or an insider splits the group."""
    identity = b"\x01" + bytes(31)
    with pytest.raises(NotAuthentic):
        sodium.ed25519_verify(identity, b"m", identity + bytes(32))


def test_an_old_pynacl_is_refused() -> None:
    for version in ("1.5.0", "1.6.1", "0.9"):
        with pytest.raises(ImportError):
            sodium.refuse_old_pynacl(version)
    for version in ("1.6.2", "1.7.0", "2.0"):
        sodium.refuse_old_pynacl(version)


@pytest.mark.parametrize("kem", [hpke.X25519, hpke.P256, hpke.MLKEM768_X25519], ids=lambda kem: kem.name)
def test_hpke_opens_what_it_sealed_and_nothing_else(kem: hpke.Kem) -> None:
    private, public = kem.derive(bytes(32))
    assert (len(private), len(public)) == (kem.private_length, kem.public_length)
    assert kem.public_of(private) == public
    sealed = hpke.seal(kem, public, b"info", b"text")
    assert hpke.open_(kem, private, b"info", sealed) == b"text"
    for at in range(0, len(sealed), 7):
        with pytest.raises((NotAuthentic, Malformed)):
            hpke.open_(kem, private, b"info", sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :])
    for bad in (b"", sealed[:-1], sealed + b"\x00", sealed[: kem.enc_length + 15]):
        with pytest.raises((NotAuthentic, Malformed)):
            hpke.open_(kem, private, b"info", bad)
    with pytest.raises(NotAuthentic):
        hpke.open_(kem, private, b"other", sealed)
    with pytest.raises(NotAuthentic):
        hpke.open_(kem, kem.derive(b"\x01" * 32)[0], b"info", sealed)
    for wrong in (public[:-1], public + b"\x00", b"", bytes(len(public))):
        with pytest.raises(Malformed):
            hpke.seal(kem, wrong, b"info", b"text")
    for wrong in (private[:-1], private + b"\x00"):
        with pytest.raises(UsageError):
            hpke.open_(kem, wrong, b"info", sealed)


def test_a_compressed_p256_point_is_refused_though_the_library_reads_it() -> None:
    """RFC 9420, 5.1.1: uncompressed points only; two encodings of one key would pass as two keys."""
    public = hpke.P256.derive(bytes(32))[1]
    compressed = bytes((2 + public[64] % 2,)) + public[1:33]
    for call in (
        lambda: hpke.seal(hpke.P256, compressed, b"", b""),
        lambda: hpke.P256.load_public(compressed),
        lambda: hpke.P256.check_public(compressed),
    ):
        with pytest.raises(Malformed):
            call()
    suite = suite_of(2)
    bundle = make_key_package(2, b"x", lifetime=LIFETIME)
    package, signer = package_of(bundle), suite.signer(bundle.signature_private)
    own = bytes((2 + signer.public[64] % 2,)) + signer.public[1:33]
    for made in (
        signed_package(package, suite, signer, init_key=compressed),
        signed_package(
            package,
            suite,
            signer,
            leaf_node=signed_leaf(package.leaf_node, suite, signer, encryption_key=compressed),
        ),
        signed_package(
            package, suite, signer, leaf_node=signed_leaf(package.leaf_node, suite, signer, signature_key=own)
        ),
    ):
        with pytest.raises(Malformed):
            read_key_package(package_message(made))


@pytest.mark.parametrize("high_bit", [0, 0x80])
def test_every_x25519_point_of_small_order_is_refused(high_bit: int) -> None:
    p = 2**255 - 19
    orders = (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        p - 1,
        p,
        p + 1,
    )
    for value in orders:
        point = bytearray(value.to_bytes(32, "little"))
        point[31] |= high_bit
        with pytest.raises(Malformed):
            hpke.seal(hpke.X25519, bytes(point), b"", b"")
        with pytest.raises(Malformed):
            hpke.seal(
                hpke.MLKEM768_X25519, hpke.MLKEM768_X25519.derive(bytes(32))[1][:1184] + bytes(point), b"", b""
            )


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
def test_a_members_callers_mistakes_are_usage_errors(suite: int) -> None:
    room = Room(suite, 2)
    group = room.members[0].group
    for call in (
        lambda: Group.create(0x7777, b"", b""),
        lambda: Group.create(suite, b"", b"", extensions=[(0xF888, b"not supported by its creator")]),
        lambda: group.member(7),
        lambda: group.propose_remove(7),
        lambda: group.export("x", b"", limits.MAX_EXPORT + 1),
        lambda: group.export("x", b"", -1),
        lambda: make_key_package(0x7777, b"", lifetime=LIFETIME),
    ):
        with pytest.raises(UsageError):
            call()
    for number in (b"", b"\x00\x01\x00\x05", b"\x00" * 40):
        with pytest.raises(CryptoError):
            group.propose_add(number)
