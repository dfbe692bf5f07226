"""The second half of the walk, on a machine of its own: two processes over PostgreSQL and NATS behind nginx."""

import json
import subprocess

from .walk import SECRET, TLS, Walk

UNITS = ("pourparler@8471", "pourparler@8472")
BOTH = " ".join(UNITS)
SETTINGS = "/etc/pourparler/settings.toml"
LAST = "journalctl -u pourparler@8471 -t pourparler -o cat -n 1"  # as the guide says
TAKER = "systemd-run -q -u taken python3 -m http.server --bind 127.0.0.1 8471"
PUT_BACK = f"mv {SETTINGS}.right {SETTINGS}"
# What newcomers do, and what mends it.
MISTAKES = (
    ("a wrong password", f"sed -i.right s/{SECRET}@127.0.0.1:5433/wrong@127.0.0.1:5433/ {SETTINGS}", PUT_BACK),
    ("no password put in", f"sed -i.right s/{SECRET}/PASSWORD/ {SETTINGS}", PUT_BACK),
    ("settings that the service may not read", f"chmod g= {SETTINGS}", f"chmod g=r {SETTINGS}"),
    ("a misspelt setting", f"sed -i.right s/^bus-url/bus-urll/ {SETTINGS}", PUT_BACK),
    ("a database is off", "systemctl stop postgresql@15-outside", "systemctl start postgresql@15-outside"),
    ("the port is taken", f"systemctl stop {UNITS[0]}; {TAKER}; sleep 5", "systemctl stop taken"),
)


class Pair(Walk):
    def set_up(self) -> None:
        (first,) = (one for one in self.blocks if "deploy/settings.env" in " ".join(one.lines))
        program = next(n for n, line in enumerate(first.lines) if "pip install --no-deps" in line)
        for line in first.lines[: program + 1]:  # "down to the second pip"
            self.line(line)
        told = self.block("pg_createcluster")
        self.holds("Nothing is wrong with these settings." in told, told)
        self.holds(self.active(*UNITS), "two processes do not run")
        self.hardened(UNITS[0])
        self.block("pourparler grant --config")
        self.door()
        self.block("8472;")
        self.inside("people", TLS)
        self.inside("odd", self.stranger)
        self.no_address()
        self.say("  two people have talked through nginx with two processes behind it")

    def rolling(self) -> None:
        """The guide's upgrade under load; then a process is killed."""
        load = self.under_load(30)
        self.block("systemctl restart pourparler@8472")
        self.nothing_lost(load, "a rolling restart")
        load = self.under_load(30)
        self.guest.type(f"systemctl kill -s KILL {UNITS[0]}")
        took = self.wait("the killed process is back", lambda: self.active(UNITS[0]))
        self.holds(self.show(UNITS[0], "NRestarts") == "1", "systemd did not restart it")
        self.nothing_lost(load, f"kill -9 (back in {took:.0f} s)")

    def under_load(self, seconds: int) -> "subprocess.Popen[str]":
        load = self.guest.start(self.within("load", TLS, str(seconds)))
        assert load.stdout is not None
        told = load.stdout.readline()
        self.holds("under load" in told, f"no load came: {told}")
        return load

    def nothing_lost(self, load: "subprocess.Popen[str]", what: str) -> None:
        told, _ = load.communicate(timeout=900)
        last = told.strip().rpartition("\n")[2]
        self.holds(last.startswith("{"), f"the load broke off: {told!r}")
        figures = json.loads(last)
        self.holds(figures["acknowledged"] > 0, f"{figures}")
        self.holds(not any(figures[name] for name in ("lost", "not_streamed", "twice", "wrong")), f"{figures}")
        self.say(f"  {what}: {figures['acknowledged']} acknowledged, none lost or twice")

    def copies(self) -> None:
        self.inside("keep", TLS, "/var/tmp/two.json")
        self.block("pg_dump")
        mode = self.guest.read("stat -c '%A %U' /var/backups/pourparler/database.sql").strip()
        self.holds(mode == "-rw------- pourparler", mode)
        self.inside("keep", TLS, "/var/tmp/two.json")
        self.block("dropdb")
        told = json.loads(self.inside("look", TLS, "/var/tmp/two.json"))
        self.holds(told["new_incarnation"], f"a restored service tells nobody: {told}")
        self.inside("people", TLS)
        self.say(f"  dumped and restored: {told}")

    def mistakes(self) -> None:
        """What newcomers do: each ends with one sentence where the guide says, and works again once it is mended."""
        for what, spoil, mend in MISTAKES:
            self.guest.type(spoil)
            status, told = self.guest.try_out("systemctl restart pourparler@8471")
            self.holds(status != 0, f"{what}: systemctl said nothing was wrong: {told}")
            sentence = self.guest.read(LAST).strip()
            self.holds(
                sentence.endswith(".") and len(sentence.splitlines()) == 1 and "Traceback" not in sentence,
                f"{what}: {sentence}",
            )
            self.holds(SECRET not in sentence, f"{what}: a secret is in the journal")
            self.guest.type(mend)
            self.wait(f"{what}: it comes back by itself", lambda: self.active(UNITS[0]))
            self.say(f"  {what}: {sentence}")
        self.guest.type("systemctl stop nats-server")
        self.guest.type(f"systemctl restart {UNITS[0]}")
        self.inside("people", TLS)
        self.say(f"  NATS is off: it serves all the same, and says: {self.guest.read(LAST).strip()}")
        _, told = self.guest.try_out(f"/opt/pourparler/bin/pourparler serve --check --config {SETTINGS}")
        self.holds("NATS does not answer" in told, told)
        self.guest.type("systemctl start nats-server")

    def again(self) -> None:
        """The machine is restarted: everything comes up by itself."""
        before = json.loads(self.inside("look", TLS, "/var/tmp/two.json"))
        self.guest.reboot()
        self.wait("both processes are back", lambda: self.active(*UNITS, "nginx", "nats-server"))
        self.guest.type(f"ip address replace {self.stranger}/32 dev lo")
        after = json.loads(self.inside("look", TLS, "/var/tmp/two.json"))
        self.holds(after["there"] == before["there"], f"{before}, then {after}")
        tries = sum(int(self.show(unit, "NRestarts")) for unit in UNITS)
        self.holds(tries == 0, f"they came before what they need, and had to try again {tries} times")
        self.no_address()
        self.say("  after a restart of the machine both are back at the first try")
