"""Vectors of message forms and protection, Welcomes, and passive clients over whole histories."""

import copy
import os
from dataclasses import fields, is_dataclass
from typing import Any

from pourparler_crypto.errors import UsageError
from pourparler_crypto.mls.codec import NOTHING, Codec
from pourparler_crypto.mls.commitforms import COMMIT_CODEC
from pourparler_crypto.mls.framing import (
    KEY_PACKAGE,
    PRIVATE_MESSAGE,
    PUBLIC_MESSAGE,
    AuthenticatedContent,
    Content,
    PublicMessage,
    SenderDataKeys,
    encode_content,
    frame,
    membership_input,
    mls_message,
    open_private,
    open_sender_data,
    ratchet_kind,
    read_header,
    read_private,
    read_public,
    seal_private,
    sign_content,
    signature_input,
    write_private,
    write_public,
)
from pourparler_crypto.mls.group import Group
from pourparler_crypto.mls.keypackages import KEY_PACKAGE_CODEC, KeyPackageBundle, read_key_package_message
from pourparler_crypto.mls.keyschedule import (
    GroupContext,
    epoch_secrets,
    group_context,
)
from pourparler_crypto.mls.nodes import LeafNode
from pourparler_crypto.mls.proposals import CASES, PROPOSAL, Proposal
from pourparler_crypto.mls.secrettree import SecretTree
from pourparler_crypto.mls.tree import RATCHET_TREE_CODEC
from pourparler_crypto.mls.vectors.common import Entry, VectorMismatch, same, suite_in, unhex
from pourparler_crypto.mls.welcome import (
    GROUP_INFO_CODEC,
    GROUP_SECRETS,
    WELCOME_CODEC,
    open_group_info,
    open_group_secrets,
    read_welcome,
)


def check_welcome(entry: Entry) -> None:
    """Open a Welcome; check the GroupInfo signature and the confirmation tag."""
    suite = suite_in(entry)
    package = read_key_package_message(unhex(entry["key_package"]))
    welcome = read_welcome(unhex(entry["welcome"]))
    same(welcome.cipher_suite, suite.number, "cipher suite")
    secrets = open_group_secrets(suite, welcome, package.ref(suite), unhex(entry["init_priv"]))
    info, member = open_group_info(suite, welcome, secrets.joiner_secret, suite.zero)
    leaf = package.leaf_node
    stand_in = LeafNode(
        leaf.encryption_key, unhex(entry["signer_pub"]), leaf.credential, leaf.capabilities, leaf.source, (), b""
    )
    info.verify(suite, stand_in)
    context = info.group_context
    secrets_of_epoch = epoch_secrets(suite, member, context.raw)
    suite.check_mac(
        secrets_of_epoch.confirmation,
        context.confirmed_transcript_hash,
        info.confirmation_tag,
        "confirmation tag",
    )


def check_message_protection(entry: Entry) -> None:
    """Both directions of both wrappings for a proposal, a commit and application data."""
    suite = suite_in(entry)
    group_id = unhex(entry["group_id"])
    context = group_context(
        suite,
        group_id,
        entry["epoch"],
        unhex(entry["tree_hash"]),
        unhex(entry["confirmed_transcript_hash"]),
        (),
    ).raw
    membership_key = unhex(entry["membership_key"])
    signer = suite.signer(unhex(entry["signature_priv"]))
    verify = suite.load_verifier(unhex(entry["signature_pub"]))
    keys = SenderDataKeys(suite, unhex(entry["sender_data_secret"]))
    leaf = 1  # the sender in all these vectors

    def check(content: AuthenticatedContent, expected: bytes, name: str) -> AuthenticatedContent:
        verify(signature_input(content, context), content.signature)
        same(content.sender, (1, leaf), "sender")
        found = content.content
        same(found if isinstance(found, bytes) else encode_content(found)[1], expected, name)
        return content

    def unprotect_public(message: bytes) -> AuthenticatedContent:
        same(read_header(message), PUBLIC_MESSAGE, "wire format")
        public = read_public(message, 4)
        tbm = membership_input(public.content, context)
        suite.check_mac(membership_key, tbm, public.membership_tag, "membership tag")
        return public.content

    def unprotect_private(message: bytes) -> AuthenticatedContent:
        same(read_header(message), PRIVATE_MESSAGE, "wire format")
        private = read_private(message, 4)
        tree = SecretTree.start(suite, 2, unhex(entry["encryption_secret"]))
        sender, generation, guard = open_sender_data(keys, private)
        step = tree.find(sender, ratchet_kind(private.content_type), generation)
        return open_private(suite, private, step, guard)

    def sign(wire_format: int, content: Content, tag: bytes) -> AuthenticatedContent:
        signed = sign_content(signer, context, wire_format, group_id, entry["epoch"], leaf, content)
        signed.confirmation_tag = tag
        return signed

    for name, codec in (("proposal", PROPOSAL), ("commit", COMMIT_CODEC), ("application", None)):
        raw = unhex(entry[name])
        content: Any = raw if codec is None else codec.decode(raw, name)
        tag = b""
        if codec is None:
            try:
                sign(PUBLIC_MESSAGE, content, b"")
            except UsageError:
                pass
            else:
                raise VectorMismatch("application data was protected as a PublicMessage")
        else:
            theirs = check(unprotect_public(unhex(entry[f"{name}_pub"])), raw, name)
            tag = theirs.confirmation_tag
            ours = sign(PUBLIC_MESSAGE, content, tag)
            mac = suite.mac(membership_key, membership_input(ours, context))
            check(unprotect_public(mls_message(PUBLIC_MESSAGE, write_public(ours, mac))), raw, name)
        check(unprotect_private(unhex(entry[f"{name}_priv"])), raw, name)
        ours = sign(PRIVATE_MESSAGE, content, tag)
        step = SecretTree.start(suite, 2, unhex(entry["encryption_secret"])).find(
            leaf, ratchet_kind(ours.content_type)
        )
        head = ours.framed[: len(frame(group_id, entry["epoch"], (3, None), b"", 0, b"")) - 3]
        plaintext = encode_content(content)[1] + ours.auth + bytes(5)
        sealed = seal_private(keys, step, os.urandom(4), head, ours.content_type, b"", plaintext)
        check(unprotect_private(sealed), raw, name)


def _without_raw(value: Any) -> Any:
    """A copy without the bytes that structs keep, so that encoding it is done anew."""
    return _forget_raw(copy.deepcopy(value))


def _forget_raw(value: Any) -> Any:
    if isinstance(value, tuple):
        for item in value:
            _forget_raw(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            _forget_raw(getattr(value, part.name))
        if hasattr(value, "raw") and not isinstance(value, GroupContext):  # whose bytes are always made anew
            value.raw = b""
    return value


def _reencode(codec: Codec[Any], raw: bytes, name: str) -> None:
    same(codec.write(_without_raw(codec.decode(raw, name))), raw, f"re-encoded {name}")


def _reframed(content: AuthenticatedContent) -> AuthenticatedContent:
    body: Any = content.content
    content_type, encoded = encode_content(body if isinstance(body, bytes) else _without_raw(body))
    content.framed = frame(
        content.group_id, content.epoch, content.sender, content.authenticated_data, content_type, encoded
    )
    return content


def check_messages(entry: Entry) -> None:
    """Decode every form of message and encode it anew."""
    for name, wire_format, codec in (
        ("mls_welcome", 3, WELCOME_CODEC),
        ("mls_group_info", 4, GROUP_INFO_CODEC),
        ("mls_key_package", KEY_PACKAGE, KEY_PACKAGE_CODEC),
    ):
        message = unhex(entry[name])
        same(read_header(message), wire_format, "wire format")
        _reencode(codec, message[4:], name)
    _reencode(RATCHET_TREE_CODEC, unhex(entry["ratchet_tree"]), "ratchet_tree")
    _reencode(GROUP_SECRETS, unhex(entry["group_secrets"]), "group_secrets")
    _reencode(COMMIT_CODEC, unhex(entry["commit"]), "commit")
    for kind, name in enumerate(
        ("add", "update", "remove", "pre_shared_key", "re_init", "external_init", "group_context_extensions"), 1
    ):
        raw = unhex(entry[f"{name}_proposal"])
        _reencode(CASES[kind], raw, name)
        whole = kind.to_bytes(2) + raw
        decoded: Proposal = _without_raw(PROPOSAL.decode(whole, name))
        same(PROPOSAL.write(decoded), whole, f"re-encoded {name}")
    for name in ("public_message_application", "public_message_proposal", "public_message_commit"):
        message = unhex(entry[name])
        public: PublicMessage = read_public(message, 4)
        again = write_public(_reframed(public.content), public.membership_tag)
        same(mls_message(read_header(message), again), message, f"re-encoded {name}")
    message = unhex(entry["private_message"])
    private = read_private(message, 4)
    same(mls_message(read_header(message), write_private(private)), message, "re-encoded private_message")
    same(
        private.aad,
        frame(private.group_id, private.epoch, (3, None), b"", 0, NOTHING.write(None))[:-3]
        + private.content_type.to_bytes(1)
        + private.aad[len(private.sender_data_aad) :],
        "PrivateContentAAD",
    )


def check_passive_client(entry: Entry) -> None:
    """Join, follow every commit, and agree on every epoch authenticator."""
    key_package, signature_private = unhex(entry["key_package"]), unhex(entry["signature_priv"])
    if len(signature_private) == 64:
        # Some generators write an Ed25519 key as seed ‖ public key.
        public = read_key_package_message(key_package).leaf_node.signature_key
        same(signature_private[32:], public, "signature public key")
        signature_private = signature_private[:32]
    bundle = KeyPackageBundle(
        key_package, unhex(entry["init_priv"]), unhex(entry["encryption_priv"]), signature_private
    )
    bundle = KeyPackageBundle.from_bytes(bundle.to_bytes())
    psks = {unhex(psk["psk_id"]): unhex(psk["psk"]) for psk in entry["external_psks"]}
    tree = entry["ratchet_tree"]
    group = Group.join(
        bundle, unhex(entry["welcome"]), ratchet_tree=None if tree is None else unhex(tree), psks=psks
    )
    same(group.epoch_authenticator.hex(), entry["initial_epoch_authenticator"], "first epoch authenticator")
    for number, epoch in enumerate(entry["epochs"]):
        for proposal in epoch["proposals"]:
            group.decrypt(unhex(proposal), psks=psks)
        # Through the records and back, as a client that is restarted before every commit.
        group = Group.load(group.records())
        staged: Any = group.decrypt(unhex(epoch["commit"]), psks=psks)
        group = staged.apply()
        same(
            group.epoch_authenticator.hex(),
            epoch["epoch_authenticator"],
            f"epoch authenticator after commit {number}",
        )
