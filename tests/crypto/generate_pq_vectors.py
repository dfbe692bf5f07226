"""Write test vectors of the hybrid suite: python tests/crypto/generate_pq_vectors.py [FILE]

No official vectors exist for MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519. These have the official formats, so
that the runner of those checks them. They come from this implementation, hence they prove that it still does what
it did, not that it was right; what binds it to the world are the KEM's official vectors and the official vectors
of the other suites, which run through the same code. Encapsulation draws its own randomness, so that a new run
writes other bytes. Every entry is checked before anything is written.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pourparler_crypto.mls import CHARTER, SUITE_PQ, Group, KeyPackageBundle, make_key_package
from pourparler_crypto.mls.framing import SenderDataKeys
from pourparler_crypto.mls.keyschedule import (
    EXTERNAL,
    PskId,
    epoch_secrets,
    export,
    group_context,
    joiner_secret,
    member_secret,
    psk_secret,
    welcome_secret,
)
from pourparler_crypto.mls.secrettree import SecretTree
from pourparler_crypto.mls.suites import labeled, suite_of
from pourparler_crypto.mls.vectors import check_entries

SUITE = suite_of(SUITE_PQ)
DEFAULT = Path(__file__).parent / "vectors" / "pq_suite.json"
LIFETIME = (0, 2**63)

Entry = dict[str, Any]


def secret() -> bytes:
    return os.urandom(SUITE.hash_length)


def crypto_basics() -> Entry:
    key, context, label = secret(), os.urandom(32), "Label"
    signer = SUITE.new_signer(os.urandom)
    private, public = SUITE.kem.generate(os.urandom)
    sealed = SUITE.encrypt_with_label(SUITE.kem.load_public(public), label.encode(), context, key)
    tree_context = (7).to_bytes(4)
    return {
        "cipher_suite": SUITE_PQ,
        "ref_hash": {
            "label": "RefHash",
            "value": context.hex(),
            "out": SUITE.ref_hash(b"RefHash", context).hex(),
        },
        "expand_with_label": {
            "secret": key.hex(),
            "label": label,
            "context": context.hex(),
            "length": 48,
            "out": SUITE.expand_with_label(key, label.encode(), context, 48).hex(),
        },
        "derive_secret": {
            "secret": key.hex(),
            "label": label,
            "out": SUITE.derive_secret(key, label.encode()).hex(),
        },
        "derive_tree_secret": {
            "secret": key.hex(),
            "label": label,
            "generation": 7,
            "length": 32,
            "out": SUITE.expand_with_label(key, label.encode(), tree_context, 32).hex(),
        },
        "sign_with_label": {
            "priv": signer.private.hex(),
            "pub": signer.public.hex(),
            "content": context.hex(),
            "label": label,
            "signature": signer.sign(labeled(label.encode(), context)).hex(),
        },
        "encrypt_with_label": {
            "priv": private.hex(),
            "pub": public.hex(),
            "label": label,
            "context": context.hex(),
            "plaintext": key.hex(),
            "kem_output": sealed[0].hex(),
            "ciphertext": sealed[1].hex(),
        },
    }


def key_schedule() -> Entry:
    group_id, first = os.urandom(16), secret()
    init, epochs = first, []
    for number in range(2):
        commit_secret, psk, tree_hash, confirmed = secret(), secret(), secret(), secret()
        context = group_context(SUITE, group_id, number, tree_hash, confirmed, ())
        joiner = joiner_secret(SUITE, init, commit_secret, context.raw)
        member = member_secret(SUITE, joiner, psk)
        secrets = epoch_secrets(SUITE, member, context.raw)
        exporter_context = os.urandom(8)
        epochs.append(
            {
                "tree_hash": tree_hash.hex(),
                "commit_secret": commit_secret.hex(),
                "psk_secret": psk.hex(),
                "confirmed_transcript_hash": confirmed.hex(),
                "group_context": context.raw.hex(),
                "joiner_secret": joiner.hex(),
                "welcome_secret": welcome_secret(SUITE, member).hex(),
                "init_secret": secrets.init.hex(),
                "sender_data_secret": secrets.sender_data.hex(),
                "encryption_secret": secrets.encryption.hex(),
                "exporter_secret": secrets.exporter.hex(),
                "epoch_authenticator": secrets.authenticator.hex(),
                "external_secret": secrets.external.hex(),
                "confirmation_key": secrets.confirmation.hex(),
                "membership_key": secrets.membership.hex(),
                "resumption_psk": secrets.resumption.hex(),
                "external_pub": SUITE.kem.derive(secrets.external)[1].hex(),
                "exporter": {
                    "label": "exporter",
                    "context": exporter_context.hex(),
                    "length": 80,
                    "secret": export(SUITE, secrets.exporter, b"exporter", exporter_context, 80).hex(),
                },
            }
        )
        init = secrets.init
    return {
        "cipher_suite": SUITE_PQ,
        "group_id": group_id.hex(),
        "initial_init_secret": first.hex(),
        "epochs": epochs,
    }


def secret_tree() -> Entry:
    root, sender_data_secret, ciphertext = secret(), secret(), os.urandom(77)
    key, nonce = SenderDataKeys(SUITE, sender_data_secret).of(ciphertext)
    tree = SecretTree.start(SUITE, 4, root)
    leaves = []
    for leaf in range(4):
        generations = []
        for generation in (0, 1, 15):
            entry: Entry = {"generation": generation}
            for kind in ("handshake", "application"):
                step = tree.find(leaf, kind, generation)
                tree.take(step)
                entry |= {f"{kind}_key": step.key.hex(), f"{kind}_nonce": step.nonce.hex()}
            generations.append(entry)
        leaves.append(generations)
    return {
        "cipher_suite": SUITE_PQ,
        "encryption_secret": root.hex(),
        "sender_data": {
            "sender_data_secret": sender_data_secret.hex(),
            "ciphertext": ciphertext.hex(),
            "key": key.hex(),
            "nonce": nonce.hex(),
        },
        "leaves": leaves,
    }


def psks() -> Entry:
    used = [(PskId((EXTERNAL, os.urandom(8)), secret()), secret()) for _ in range(3)]
    return {
        "cipher_suite": SUITE_PQ,
        "psks": [
            {"psk_id": psk_id.which[1].hex(), "psk": psk.hex(), "psk_nonce": psk_id.nonce.hex()}  # type: ignore[union-attr]
            for psk_id, psk in used
        ],
        "psk_secret": psk_secret(SUITE, used).hex(),
    }


class History:
    """A group in which everybody acts but the passive client, whose view is recorded."""

    def __init__(self, tree_in_welcome: bool) -> None:
        self.psks = {b"a PSK": secret()}
        self.passive = make_key_package(SUITE_PQ, b"passive client", lifetime=LIFETIME)
        creator = Group.create(SUITE_PQ, os.urandom(16), b"creator", extensions=[(CHARTER, os.urandom(48))])
        other = self.new("other")
        pending = creator.stage(
            add=[other.key_package, self.passive.key_package],
            tree_in_welcome=tree_in_welcome,
            psks=self.psks,
        )
        self.active = [
            pending.staged.apply(),
            Group.join(other, pending.welcome or b"", ratchet_tree=pending.ratchet_tree, psks=self.psks),
        ]
        self.entry: Entry = {
            "cipher_suite": SUITE_PQ,
            "external_psks": [{"psk_id": key.hex(), "psk": psk.hex()} for key, psk in self.psks.items()],
            "key_package": self.passive.key_package.hex(),
            "signature_priv": self.passive.signature_private.hex(),
            "encryption_priv": self.passive.encryption_private.hex(),
            "init_priv": self.passive.init_private.hex(),
            "welcome": (pending.welcome or b"").hex(),
            "ratchet_tree": None if pending.ratchet_tree is None else pending.ratchet_tree.hex(),
            "initial_epoch_authenticator": self.active[0].epoch_authenticator.hex(),
            "epochs": [],
        }

    @staticmethod
    def new(name: str) -> KeyPackageBundle:
        return make_key_package(SUITE_PQ, name.encode(), lifetime=LIFETIME)

    def propose(self, author: int, act: Callable[[Group], tuple[bytes, Any]]) -> tuple[str, bytes]:
        message, changes = act(self.active[author])
        for index, group in enumerate(self.active):
            if index != author:
                group.decrypt(message)
        name = next(name for name in changes if name.startswith("proposal/"))
        return message.hex(), bytes.fromhex(name.removeprefix("proposal/"))

    def commit(
        self,
        committer: int,
        proposals: list[tuple[str, bytes]],
        joiners: list[KeyPackageBundle],
        proposed: KeyPackageBundle | None = None,
        **plan: Any,
    ) -> None:
        pending = self.active[committer].stage(
            add=[joiner.key_package for joiner in joiners],
            proposals=[ref for _, ref in proposals],
            known_psks=self.psks,
            **plan,
        )
        following = []
        for index, group in enumerate(self.active):
            staged: Any = pending.staged if index == committer else group.decrypt(pending.commit, psks=self.psks)
            if not staged.removes_me:
                following.append(staged.apply())
        for joiner in joiners if proposed is None else [proposed, *joiners]:
            following.append(
                Group.join(joiner, pending.welcome or b"", ratchet_tree=pending.ratchet_tree, psks=self.psks)
            )
        self.active = following
        self.entry["epochs"].append(
            {
                "proposals": [message for message, _ in proposals],
                "commit": pending.commit.hex(),
                "epoch_authenticator": self.active[0].epoch_authenticator.hex(),
            }
        )


def history_of_updates() -> Entry:
    history = History(tree_in_welcome=True)
    history.commit(0, [], [])
    history.commit(1, [history.propose(0, Group.propose_update)], [], new_signature_key=True)
    history.commit(0, [], [], resumption_epochs=[history.active[0].epoch - 1], update=False)
    return history.entry


def history_of_members() -> Entry:
    history = History(tree_in_welcome=False)
    history.commit(0, [], [history.new("third"), history.new("fourth")], update=False)
    fifth = history.new("fifth")
    proposals = [
        history.propose(1, lambda group: group.propose_psk(b"a PSK")),
        history.propose(2, lambda group: group.propose_add(fifth.key_package)),
    ]
    creator = history.active[0].own_leaf
    history.commit(3, proposals, [], fifth, extensions=[(CHARTER, os.urandom(48))], remove=[creator])
    history.commit(0, [], [])
    return history.entry


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 2
    path = Path(arguments[0]) if arguments else DEFAULT
    entries = [
        crypto_basics(),
        key_schedule(),
        secret_tree(),
        psks(),
        history_of_updates(),
        history_of_members(),
    ]
    report = check_entries(json.loads(json.dumps(entries)))
    if report.passed != len(entries):
        print("not written:", *report.failures, sep="\n", file=sys.stderr)
        return 1
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {len(entries)} entries, {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
