"""Vectors of tree math, lengths, primitives, key schedule, secret tree, PSKs and transcript hashes."""

from collections.abc import Callable

from pourparler_crypto.errors import UsageError
from pourparler_crypto.mls import treemath
from pourparler_crypto.mls.codec import UINT32, read_length
from pourparler_crypto.mls.framing import (
    SenderDataKeys,
    read_authenticated_content,
)
from pourparler_crypto.mls.keyschedule import (
    EXTERNAL,
    PskId,
    confirmed_hash,
    epoch_secrets,
    export,
    group_context,
    interim_hash,
    joiner_secret,
    member_secret,
    psk_secret,
    welcome_secret,
)
from pourparler_crypto.mls.secrettree import SecretTree
from pourparler_crypto.mls.suites import labeled
from pourparler_crypto.mls.vectors.common import Entry, same, suite_in, unhex


def check_tree_math(entry: Entry) -> None:
    """Array-based tree math: root, children, parent and sibling of every node."""
    leaves = entry["n_leaves"]
    same(treemath.node_width(leaves), entry["n_nodes"], "n_nodes")
    same(treemath.root(leaves), entry["root"], "root")

    def or_none(function: Callable[..., int], *arguments: int) -> int | None:
        try:
            return function(*arguments)
        except UsageError:
            return None

    for node in range(entry["n_nodes"]):
        same(or_none(treemath.left, node), entry["left"][node], "left")
        same(or_none(treemath.right, node), entry["right"][node], "right")
        same(or_none(treemath.parent, node, leaves), entry["parent"][node], "parent")
        same(or_none(treemath.sibling, node, leaves), entry["sibling"][node], "sibling")


def check_deserialization(entry: Entry) -> None:
    """Variable-size length headers."""
    header = unhex(entry["vlbytes_header"])
    same(read_length(header, 0), (entry["length"], len(header)), "length")


def check_crypto_basics(entry: Entry) -> None:
    """The labelled functions of a suite, both ways where they are not deterministic."""
    suite = suite_in(entry)
    case = entry["ref_hash"]
    same(suite.ref_hash(case["label"].encode(), unhex(case["value"])).hex(), case["out"], "RefHash")
    case = entry["expand_with_label"]
    expanded = suite.expand_with_label(
        unhex(case["secret"]), case["label"].encode(), unhex(case["context"]), case["length"]
    )
    same(expanded.hex(), case["out"], "ExpandWithLabel")
    case = entry["derive_secret"]
    same(suite.derive_secret(unhex(case["secret"]), case["label"].encode()).hex(), case["out"], "DeriveSecret")
    case = entry["derive_tree_secret"]
    derived = suite.expand_with_label(
        unhex(case["secret"]), case["label"].encode(), UINT32.write(case["generation"]), case["length"]
    )
    same(derived.hex(), case["out"], "DeriveTreeSecret")
    case = entry["sign_with_label"]
    verify = suite.load_verifier(unhex(case["pub"]))
    content = labeled(case["label"].encode(), unhex(case["content"]))
    signer = suite.signer(unhex(case["priv"]))
    same(signer.public.hex(), case["pub"], "signature public key")
    verify(content, unhex(case["signature"]))
    verify(content, signer.sign(content))
    case = entry["encrypt_with_label"]
    label, context = case["label"].encode(), unhex(case["context"])
    private = suite.kem.load_private(unhex(case["priv"]))
    opened = suite.decrypt_with_label(
        private, label, context, unhex(case["kem_output"]), unhex(case["ciphertext"])
    )
    same(opened.hex(), case["plaintext"], "DecryptWithLabel")
    sealed = suite.encrypt_with_label(suite.kem.load_public(unhex(case["pub"])), label, context, opened)
    same(suite.decrypt_with_label(private, label, context, *sealed), opened, "EncryptWithLabel")


def check_secret_tree(entry: Entry) -> None:
    """Sender data keys, and each ratchet key in rising generations."""
    suite = suite_in(entry)
    case = entry["sender_data"]
    keys = SenderDataKeys(suite, unhex(case["sender_data_secret"]))
    same(keys.of(unhex(case["ciphertext"])), (unhex(case["key"]), unhex(case["nonce"])), "sender data key")
    tree = SecretTree.start(suite, len(entry["leaves"]), unhex(entry["encryption_secret"]))
    for leaf, generations in enumerate(entry["leaves"]):
        for case in generations:
            for kind in ("handshake", "application"):
                step = tree.find(leaf, kind, case["generation"])
                expected = (unhex(case[f"{kind}_key"]), unhex(case[f"{kind}_nonce"]))
                same((step.key, step.nonce), expected, f"{kind} key and nonce")
                tree.take(step)


def check_key_schedule(entry: Entry) -> None:
    """Every secret of a run of epochs, external_pub and the exporter."""
    suite = suite_in(entry)
    init = unhex(entry["initial_init_secret"])
    for number, epoch in enumerate(entry["epochs"]):
        context = group_context(
            suite,
            unhex(entry["group_id"]),
            number,
            unhex(epoch["tree_hash"]),
            unhex(epoch["confirmed_transcript_hash"]),
            (),
        )
        same(context.raw.hex(), epoch["group_context"], "group context")
        joiner = joiner_secret(suite, init, unhex(epoch["commit_secret"]), context.raw)
        same(joiner.hex(), epoch["joiner_secret"], "joiner_secret")
        member = member_secret(suite, joiner, unhex(epoch["psk_secret"]))
        same(welcome_secret(suite, member).hex(), epoch["welcome_secret"], "welcome_secret")
        secrets = epoch_secrets(suite, member, context.raw)
        for name, value in (
            ("init_secret", secrets.init),
            ("sender_data_secret", secrets.sender_data),
            ("encryption_secret", secrets.encryption),
            ("exporter_secret", secrets.exporter),
            ("epoch_authenticator", secrets.authenticator),
            ("external_secret", secrets.external),
            ("confirmation_key", secrets.confirmation),
            ("membership_key", secrets.membership),
            ("resumption_psk", secrets.resumption),
        ):
            same(value.hex(), epoch[name], name)
        same(suite.kem.derive(secrets.external)[1].hex(), epoch["external_pub"], "external_pub")
        case = epoch["exporter"]
        exported = export(suite, secrets.exporter, case["label"].encode(), unhex(case["context"]), case["length"])
        same(exported.hex(), case["secret"], "exported secret")
        init = secrets.init


def check_psk_secret(entry: Entry) -> None:
    """psk_secret of a list of external PSKs."""
    psks = [
        (PskId((EXTERNAL, unhex(psk["psk_id"])), unhex(psk["psk_nonce"])), unhex(psk["psk"]))
        for psk in entry["psks"]
    ]
    same(psk_secret(suite_in(entry), psks).hex(), entry["psk_secret"], "psk_secret")


def check_transcript_hashes(entry: Entry) -> None:
    """Both transcript hashes after a commit, and its confirmation tag."""
    suite = suite_in(entry)
    raw = unhex(entry["authenticated_content"])
    content = read_authenticated_content(raw)
    same(content.raw, raw, "re-encoded AuthenticatedContent")
    before = unhex(entry["interim_transcript_hash_before"])
    confirmed = confirmed_hash(suite, before, content.confirmed_input)
    same(confirmed.hex(), entry["confirmed_transcript_hash_after"], "confirmed transcript hash")
    suite.check_mac(unhex(entry["confirmation_key"]), confirmed, content.confirmation_tag, "confirmation tag")
    interim = interim_hash(suite, confirmed, content.confirmation_tag)
    same(interim.hex(), entry["interim_transcript_hash_after"], "interim transcript hash")
