"""The vault's tables. A migration is never edited once released; a change is a new one at the end."""

MIGRATIONS: list[list[str]] = [
    [
        "CREATE TABLE card (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL, secret BLOB NOT NULL)",
        # The highest time this vault has seen: a clock set back makes nothing live again.
        "CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), high INTEGER NOT NULL)",
        "INSERT INTO clock VALUES (1, 0)",
        """CREATE TABLE channel (
            id BLOB PRIMARY KEY,
            url TEXT NOT NULL,
            state TEXT NOT NULL,                -- store.State
            trouble TEXT NOT NULL DEFAULT '',   -- why it is halted: one sentence for the person
            charter BLOB NOT NULL,              -- in its canonical form: the one in force here
            token BLOB NOT NULL,                -- bearer secret at the service, 32 bytes
            device BLOB NOT NULL,
            credential BLOB NOT NULL,
            incarnation BLOB NOT NULL,
            cursor INTEGER NOT NULL,            -- newest seq folded
            received_at INTEGER NOT NULL,       -- of that entry; never falls
            handshake_head INTEGER NOT NULL,
            count INTEGER NOT NULL,             -- last count used for an append
            updated_at INTEGER NOT NULL,        -- this device's last own key update
            missed INTEGER NOT NULL DEFAULT 0,  -- entries that ended before this device saw them
            number INTEGER NOT NULL UNIQUE,     -- by which a person names it; stays
            complaint BLOB NOT NULL             -- sealed and still to be sent: complaints.py
        ) WITHOUT ROWID""",
        # The vault's half of the keys under which this channel's texts are stored, 32 random bytes (hours.py).
        """CREATE TABLE vault_half (
            channel BLOB PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
            half BLOB NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE chain (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            seq INTEGER NOT NULL,
            hash BLOB NOT NULL,
            PRIMARY KEY (channel, seq)
        ) WITHOUT ROWID""",
        # MLS state as flat records; pending: of the epoch that an own commit, not yet accepted, would start.
        """CREATE TABLE record (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            pending INTEGER NOT NULL,
            key TEXT NOT NULL,
            value BLOB NOT NULL,
            PRIMARY KEY (channel, pending, key)
        ) WITHOUT ROWID""",
        # What the person wants said or done: it stays here, in order, until the log holds it.
        """CREATE TABLE draft (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            kind TEXT NOT NULL,                 -- outbox.Kind: said or act
            content BLOB NOT NULL,              -- payload.encode_events; acts get their counters when they are sealed
            life INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,        -- a text that could not be sent in its own lifetime is erased
            end INTEGER                         -- said: content is sealed under this end (hours.py); acts: null
        )""",
        # The one entry under way: saved before it is sent, resent byte for byte.
        """CREATE TABLE outbox (
            channel BLOB PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
            entry BLOB NOT NULL,
            kind TEXT NOT NULL,                 -- outbox.Kind
            append BLOB NOT NULL,               -- the request as it is sent
            handshake INTEGER NOT NULL,
            envelope BLOB NOT NULL,             -- of a message: sealed as its draft is
            draft INTEGER,
            delete_secret BLOB NOT NULL,
            consent BLOB NOT NULL               -- what a commit does, in the fold's canonical form
        ) WITHOUT ROWID""",
        """CREATE TABLE message (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            seq INTEGER NOT NULL,
            sender BLOB NOT NULL,
            id BLOB NOT NULL,
            text BLOB NOT NULL,                 -- sealed under this end
            end INTEGER NOT NULL,               -- hours.py; 0: the key is the vault's alone
            received_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            own INTEGER NOT NULL,
            held INTEGER NOT NULL,              -- not to be shown while somebody is unattested
            PRIMARY KEY (channel, seq)
        ) WITHOUT ROWID""",
        "CREATE INDEX message_expiry ON message (expires_at)",
        "CREATE UNIQUE INDEX message_once ON message (channel, sender, id)",
        # Shorter lives that this person has chosen for this device, in seconds; 0: no such rule.
        """CREATE TABLE own_rule (
            channel BLOB PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
            messages INTEGER NOT NULL,
            after_reading INTEGER NOT NULL
        ) WITHOUT ROWID""",
        # Own entries that live at the service, by which they can be ended there before their time.
        """CREATE TABLE sent (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            seq INTEGER NOT NULL,
            entry BLOB NOT NULL,
            secret BLOB NOT NULL,
            expires_at INTEGER NOT NULL,        -- at the service: then there is nothing left to delete
            due INTEGER,                        -- when it is to be deleted there; null: not before its time
            PRIMARY KEY (channel, seq)
        ) WITHOUT ROWID""",
        """CREATE TABLE member (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            credential BLOB NOT NULL,
            device BLOB NOT NULL,
            name TEXT NOT NULL,
            public BLOB NOT NULL,
            fingerprint BLOB NOT NULL,
            keys BLOB NOT NULL,                 -- of its leaf, each with its length, the current one last
            heard INTEGER NOT NULL,             -- received_at of its newest renewal
            PRIMARY KEY (channel, credential)
        ) WITHOUT ROWID""",
        # The folded state of consent, in its canonical form.
        """CREATE TABLE consent (
            channel BLOB PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
            state BLOB NOT NULL
        ) WITHOUT ROWID""",
        # Deniable attestation with each other device: what the pair is bound to, and the run under way.
        """CREATE TABLE meeting (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            credential BLOB NOT NULL,
            pair BLOB NOT NULL,                 -- dpa.Pair, encoded: with the attempt
            run BLOB NOT NULL,                  -- dpa.State, encoded; empty when none is under way
            queue BLOB NOT NULL,                -- own steps that the log does not hold yet, each with its length
            accepted INTEGER NOT NULL,
            PRIMARY KEY (channel, credential)
        ) WITHOUT ROWID""",
        # Openings sent to each seat: three, and the seat has to be seated anew (docs/attestation.md).
        """CREATE TABLE opening (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            seat BLOB NOT NULL,
            count INTEGER NOT NULL,
            PRIMARY KEY (channel, seat)
        ) WITHOUT ROWID""",
        # Keys under which a device that fell behind may still complain; they open nothing else.
        """CREATE TABLE complaint (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            epoch INTEGER NOT NULL,
            key BLOB NOT NULL,
            PRIMARY KEY (channel, epoch)
        ) WITHOUT ROWID""",
        # Exact words of revisions, and remarks on them: they end with their paper.
        """CREATE TABLE words (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            digest BLOB NOT NULL,               -- of the revision, salted
            paper BLOB NOT NULL,
            salt BLOB NOT NULL,
            text BLOB NOT NULL,
            seq INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (channel, digest)
        ) WITHOUT ROWID""",
        """CREATE TABLE remark (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            seq INTEGER NOT NULL,
            digest BLOB NOT NULL,
            sender BLOB NOT NULL,
            text TEXT NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (channel, seq)
        ) WITHOUT ROWID""",
        # This device's part in the one live case (release/device.py): what its stage holds, and nothing else.
        """CREATE TABLE signing (
            channel BLOB PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
            own BLOB NOT NULL,                  -- device.Own, in its canonical form
            line INTEGER NOT NULL,              -- of the text's signatures
            state BLOB NOT NULL,                -- jr2 state, encoded; who withdrew: the case's lists; else empty
            masks BLOB NOT NULL,                -- every d, or this device's own when it withdraws
            heard BLOB NOT NULL,                -- every d, as another signer posted them
            handle BLOB NOT NULL,               -- of the case at the desk, once it is settled
            bundle BLOB NOT NULL,               -- for the desk, until it has the case
            sent INTEGER NOT NULL               -- which entries beside the log are out: 1 masks, 2 lock
        ) WITHOUT ROWID""",
        """CREATE TABLE lock (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            sender BLOB NOT NULL,
            nonce BLOB NOT NULL,
            share BLOB NOT NULL,                -- R5, when the desk was silent at the hour
            PRIMARY KEY (channel, sender)
        ) WITHOUT ROWID""",
        # What was completed here: the note, for `release export`; it ends with its paper.
        """CREATE TABLE note (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            digest BLOB NOT NULL,
            note BLOB NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (channel, digest)
        ) WITHOUT ROWID""",
        # Both sides of invitations under way; erased when they end.
        """CREATE TABLE invitation (
            box BLOB PRIMARY KEY,
            channel BLOB,                       -- inviter's side only
            step TEXT NOT NULL,
            state BLOB NOT NULL,
            expires_at INTEGER NOT NULL
        ) WITHOUT ROWID""",
    ],
    [
        # A party's press keys, secret halves too: apart from the card, and from every channel. See releasekeys.
        "CREATE TABLE release_key (public BLOB PRIMARY KEY, name TEXT NOT NULL, seed BLOB NOT NULL) WITHOUT ROWID",
    ],
    [
        # How services are reached: the address of a SOCKS proxy, or nothing. See proxy.
        "CREATE TABLE line (id INTEGER PRIMARY KEY CHECK (id = 1), proxy TEXT NOT NULL)",
    ],
    [
        # Own attachments at the service, by which they can be ended there before their time. See rooms.
        """CREATE TABLE room (
            attachment BLOB PRIMARY KEY,
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            token BLOB NOT NULL,
            secret BLOB NOT NULL,
            draft INTEGER NOT NULL,             -- what says it; gone when it was said, or given up
            seq INTEGER,                        -- of the message that said it
            expires_at INTEGER NOT NULL,        -- at the service: then there is nothing left to delete
            due INTEGER                         -- when it is to be deleted there; null: not before its time
        ) WITHOUT ROWID""",
        # Files beside this one that hold sealed chunks, for as long as a draft or a message needs them. See spool.
        """CREATE TABLE spool (
            file TEXT PRIMARY KEY,
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            seq INTEGER,
            draft INTEGER REFERENCES draft ON DELETE CASCADE,
            FOREIGN KEY (channel, seq) REFERENCES message ON DELETE CASCADE
        ) WITHOUT ROWID""",
    ],
    [
        # A release whose signers share no channel: what was arranged here, and this device's part in it (relayed.py).
        """CREATE TABLE relayed (
            channel BLOB PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
            part BLOB NOT NULL,                 -- release.relayed.Part, in its canonical form
            line INTEGER NOT NULL,              -- that this device signs; -1: none
            private BLOB NOT NULL,              -- of this round's key, until those of all are here
            crossing BLOB NOT NULL,             -- jr2.crossing.Crossing, encoded; erased with the last secret
            sid BLOB NOT NULL,
            trouble TEXT NOT NULL,              -- why this device was barred: one sentence for the person
            own BLOB NOT NULL,                  -- this and the following as in signing; empty before the round
            state BLOB NOT NULL,
            masks BLOB NOT NULL,
            heard BLOB NOT NULL,
            handle BLOB NOT NULL,
            bundle BLOB NOT NULL,
            sent INTEGER NOT NULL
        ) WITHOUT ROWID""",
        # Its messages: sealed from signer to signer. An intermediary's device holds those that it carries.
        """CREATE TABLE passage (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            leg TEXT NOT NULL,
            line INTEGER NOT NULL,
            to_line INTEGER NOT NULL,           -- -1: to all
            sealed BLOB NOT NULL,
            own INTEGER NOT NULL,               -- to be posted by this device
            PRIMARY KEY (channel, leg, line, to_line)
        ) WITHOUT ROWID""",
        # The one text that an intermediary keeps with several sides: its paper in this channel, and who signs here.
        """CREATE TABLE one_text (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            paper BLOB NOT NULL,
            release BLOB NOT NULL,              -- the number in the text's foot: the same in every channel
            lines TEXT NOT NULL,                -- of signature that are signed in this channel
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (channel, paper)
        ) WITHOUT ROWID""",
    ],
    [
        # Soundings of a channel, and this device's part in the one that is under way. Nothing here depends on what the
        # person answered: `secret` has one size, and looks alike, from the registration until it is handed in.
        """CREATE TABLE sounding (
            channel BLOB PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
            state BLOB NOT NULL,                -- policies' sounding.State, in its canonical form
            own BLOB NOT NULL,                  -- sounding.device.Own, in its canonical form; empty: no part in any
            secret BLOB NOT NULL,               -- crypto's Begun, then its Answer, then empty
            tally BLOB NOT NULL,                -- crypto's Tally, once it is settled
            result INTEGER NOT NULL,            -- -2 unknown, -1 not all accept, else the common package from 0
            value BLOB NOT NULL                 -- the total that shows it, until the log holds it
        ) WITHOUT ROWID""",
        # Inquiries before there is a channel: what was asked, and what this device hands in.
        """CREATE TABLE inquiry (
            handle BLOB PRIMARY KEY,
            url TEXT NOT NULL,
            tally BLOB NOT NULL,
            rules BLOB NOT NULL,                -- a charter without names
            names BLOB NOT NULL,                -- the whole charter, sealed until everybody has said yes
            secret BLOB NOT NULL,               -- crypto's Answer, until it was handed in; of one size
            moment INTEGER NOT NULL,            -- when it is handed in (Unix seconds)
            result INTEGER NOT NULL,            -- -2 unknown, -1 not all, 0 all; -3: it could not be handed in
            expires_at INTEGER NOT NULL
        ) WITHOUT ROWID""",
        # Rounds of ideas, each as far as this device is in it (ideas/device.py): what its stage holds, no more.
        """CREATE TABLE idea_round (
            number INTEGER PRIMARY KEY,
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            id BLOB NOT NULL,
            own BLOB NOT NULL,                  -- device.Own, in its canonical form
            key BLOB NOT NULL,                  -- exported from the epoch of its call, as the token is
            token BLOB NOT NULL,
            secret BLOB NOT NULL,               -- of the one-time key
            setting BLOB NOT NULL,              -- who took part when the packets were sealed
            handle BLOB NOT NULL,               -- the round's number at the service
            held BLOB NOT NULL,                 -- the round with every share, until it is opened
            list BLOB NOT NULL                  -- every packet, joined, until it is opened
        )""",
        "CREATE UNIQUE INDEX idea_round_once ON idea_round (channel, id)",
        """CREATE TABLE idea_packet (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            round BLOB NOT NULL,
            place INTEGER NOT NULL,
            packet BLOB NOT NULL,
            due INTEGER NOT NULL,
            sent INTEGER NOT NULL,
            PRIMARY KEY (channel, round, place)
        ) WITHOUT ROWID""",
        # Own ideas and ballots that wait, and what was opened: each text sealed under its end (hours.py).
        """CREATE TABLE idea_text (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            kind TEXT NOT NULL,                 -- rounds.py: own, ballot, shown, marked
            round BLOB NOT NULL,                -- own: for which it is sealed, or empty; else the list
            place INTEGER NOT NULL,             -- in the list
            text BLOB NOT NULL,
            end INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            least INTEGER NOT NULL,             -- own: seats among which its author would have it at least
            doubtful INTEGER NOT NULL           -- own: somebody may have read it, in a round that broke off
        )""",
        """CREATE TABLE idea_list (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            round BLOB NOT NULL,
            seq INTEGER NOT NULL,
            seats INTEGER NOT NULL,
            unread INTEGER NOT NULL,            -- packets that could not be read
            since INTEGER NOT NULL,             -- when it opened: its life begins
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (channel, round)
        ) WITHOUT ROWID""",
    ],
    [
        # What a message is: said, or a word on a carried message (shuttle). All live and end alike.
        "ALTER TABLE message ADD COLUMN kind TEXT NOT NULL DEFAULT 'said'",
    ],
    [
        # Keys that this device's leaf has had, until they are disclosed to the members (ending.py).
        """CREATE TABLE seed (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            seed BLOB NOT NULL,                 -- sealed under this end (hours.py)
            end INTEGER NOT NULL,
            since INTEGER NOT NULL              -- when it was replaced, by this device's clock
        )""",
        # Exact words of revisions with their salts, remarks on them, and what was completed: they end with their paper,
        # and lie, like messages, only under the keys of their end.
        "DROP TABLE words",
        """CREATE TABLE words (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            digest BLOB NOT NULL,               -- of the revision, salted
            paper BLOB NOT NULL,
            number INTEGER NOT NULL,            -- under which it is sealed (hours.py)
            sealed BLOB NOT NULL,
            end INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (channel, digest)
        ) WITHOUT ROWID""",
        "DROP TABLE remark",
        """CREATE TABLE remark (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            seq INTEGER NOT NULL,
            digest BLOB NOT NULL,
            sender BLOB NOT NULL,
            number INTEGER NOT NULL,
            sealed BLOB NOT NULL,
            end INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (channel, seq)
        ) WITHOUT ROWID""",
        "DROP TABLE note",
        """CREATE TABLE note (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            digest BLOB NOT NULL,
            number INTEGER NOT NULL,
            sealed BLOB NOT NULL,
            end INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (channel, digest)
        ) WITHOUT ROWID""",
        """CREATE TABLE patience (
            channel BLOB PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
            absence INTEGER NOT NULL,           -- the longest limit that was in force here, seconds
            recess INTEGER NOT NULL,            -- the latest end of a recess
            ending INTEGER NOT NULL             -- when this device read that the channel ends, by its clock; else 0
        ) WITHOUT ROWID""",
    ],
    [
        # Packages of the sounding under way lie, like papers, only under the keys of their end: the folded state
        # has digests of them. A state and a draft from before hold the words, and go.
        "DELETE FROM sounding",
        "DELETE FROM draft WHERE kind = 'sounding' AND number NOT IN"
        " (SELECT draft FROM outbox WHERE draft IS NOT NULL)",
        """CREATE TABLE sounding_text (
            channel BLOB PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
            id BLOB NOT NULL,                   -- the sounding's
            number INTEGER NOT NULL,            -- under which it is sealed (hours.py)
            sealed BLOB NOT NULL,               -- every package's text, in canonical form
            end INTEGER NOT NULL,
            expires_at INTEGER NOT NULL
        ) WITHOUT ROWID""",
    ],
    [
        # Whether a word on a carried message waits for somebody, as of the last visit: counted without its key.
        "ALTER TABLE message ADD COLUMN waits INTEGER NOT NULL DEFAULT 0",
    ],
    [
        # Packets of a round of ideas lie, like texts, only under the keys of their end (ideapackets.py). What a round
        # from before holds goes; what was to be said in it waits for its person, for somebody may have read it.
        "UPDATE idea_text SET round = x'', doubtful = 1 WHERE kind = 'own' AND round != x''",
        "DROP TABLE idea_round",
        """CREATE TABLE idea_round (
            number INTEGER PRIMARY KEY,
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            id BLOB NOT NULL,
            own BLOB NOT NULL,                  -- device.Own, in its canonical form
            key BLOB NOT NULL,                  -- exported from the epoch of its call, as the token is
            token BLOB NOT NULL,
            secret BLOB NOT NULL,               -- of the one-time key
            setting BLOB NOT NULL,              -- who took part when the packets were sealed
            handle BLOB NOT NULL,               -- the round's number at the service
            held BLOB NOT NULL                  -- the round with every share, until it is opened
        )""",
        "CREATE UNIQUE INDEX idea_round_once ON idea_round (channel, id)",
        "DROP TABLE idea_packet",
        """CREATE TABLE idea_packet (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            round BLOB NOT NULL,
            place INTEGER NOT NULL,
            number INTEGER NOT NULL,            -- under which it is sealed (hours.py)
            sealed BLOB NOT NULL,
            end INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            due INTEGER NOT NULL,
            sent INTEGER NOT NULL,
            PRIMARY KEY (channel, round, place)
        ) WITHOUT ROWID""",
        """CREATE TABLE idea_received (
            channel BLOB NOT NULL REFERENCES channel ON DELETE CASCADE,
            round BLOB NOT NULL,
            number INTEGER NOT NULL,
            sealed BLOB NOT NULL,               -- every packet, joined, until the list is opened
            end INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (channel, round)
        ) WITHOUT ROWID""",
    ],
]
