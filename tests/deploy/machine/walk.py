"""The walk: each block of the guide in its order, with what has to hold after it."""

import json
import re
import time
from collections.abc import Callable

from .guest import CHECKOUT, OUTSIDE, Failed, Guest
from .guide import Block

NAME = "talks.example.org"
SECRET = "correct-horse"
PLAIN, TLS = "http://127.0.0.1:8470", f"https://{NAME}"
STRANGER = "198.51.100.7"  # the address from which people come; it may stand nowhere afterwards
PYTHON = "/opt/pourparler/bin/python"
# What a person does where the guide leaves it to them.
FILLED_IN = {"YOUR-NAME": NAME, "COPY": "/var/tmp/copy.sqlite3"}
ANSWERS = {r"(?i)password for new role:|enter it again:": SECRET + "\n"}
INTERRUPTED = "--restored"  # goes on until Ctrl-C
CTRL_C = {r"listening on http\S+\n": "\x03"}
PASSWORDS = f"sed -i s/PASSWORD/{SECRET}/ /etc/pourparler/settings.toml"
CERTIFICATE = (
    f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={NAME}"
    f" -addext subjectAltName=DNS:{NAME} -keyout /etc/pourparler/tls/key.pem -out /etc/pourparler/tls/fullchain.pem"
)
ONION = "until [ -s /var/lib/tor/pourparler/hostname ]; do sleep 1; done"  # on a slow machine
AFTER = {
    "deploy/settings.toml": PASSWORDS,
    "systemctl restart tor": ONION,
    "install -d -m 0700 /etc/pourparler/tls": CERTIFICATE,
}


class Walk:
    def __init__(self, guest: Guest, blocks: list[Block], say: Callable[[str], None]) -> None:
        self.guest, self.left, self.say = guest, list(blocks), say
        self.blocks, self.stranger = blocks, STRANGER
        self.grant = ""  # the guide's command

    def block(self, mark: str) -> str:
        """Do the block that has `mark` in it, line by line; it must be the only one. Returns what was said."""
        (block,) = (one for one in self.blocks if any(mark in line for line in one.lines))
        if block in self.left:
            self.left.remove(block)
        return "".join(self.line(line) for line in block.lines)

    def line(self, line: str) -> str:
        for word, filling in FILLED_IN.items():
            line = re.sub(rf"\b{word}\b", filling, line)
        self.say(f"  $ {line}")
        if "pourparler grant" in line:
            self.grant = line
        if INTERRUPTED in line:
            status, told = self.guest.try_out(line, CTRL_C)
            self.holds("listening on" in told and status in (0, 130, 255), f"status {status}: {told}")
        else:
            told = self.guest.type(line, ANSWERS)
        for mark, then in AFTER.items():
            if mark in line:
                self.guest.type(then)
        return told

    def holds(self, right: object, wrong: str) -> None:
        if not right:
            raise Failed(wrong)

    def within(self, *words: str) -> str:
        return (
            f"GRANT='{self.grant}' PYTHONPATH={CHECKOUT} {PYTHON} tests/deploy/machine/inside.py {' '.join(words)}"
        )

    def inside(self, *words: str) -> str:
        return self.guest.read(self.within(*words))

    def show(self, unit: str, name: str) -> str:
        return self.guest.read(f"systemctl show --value -p {name} {unit}").strip()

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = 300) -> float:
        began = time.monotonic()
        while not condition():
            self.holds(time.monotonic() < began + seconds, f"not within {seconds} s: {what}")
            time.sleep(1)
        return time.monotonic() - began

    def active(self, *units: str) -> bool:
        return all(self.show(unit, "SubState") == "running" for unit in units)

    # one machine

    def one_machine(self) -> None:
        told = self.block("deploy/settings.env")
        self.holds("active (running)" in told, told)
        self.holds("listening on http://127.0.0.1:8470" in told, "the status does not show that it listens")
        self.hardened("pourparler")
        self.block("pourparler grant --data")
        self.inside("people", PLAIN)
        self.say("  two people have opened a channel, said something and read it")

    def hardened(self, unit: str) -> None:
        """What the unit says is in force, looked at from where the kernel stands."""
        read = self.guest.read
        pid = self.show(unit, "MainPID")
        state = dict(re.findall(r"^(\w+):\s*(\S+)", read(f"cat /proc/{pid}/status"), re.MULTILINE))
        wanted = {"Seccomp": "2", "NoNewPrivs": "1", "CapEff": "0" * 16, "CapBnd": "0" * 16}
        self.holds(wanted.items() <= state.items(), f"{unit}: {state}")
        own, first = (read(f"readlink /proc/{one}/ns/{{mnt,user,ipc}}") for one in (pid, "1"))
        self.holds(not set(own.split()) & set(first.split()), f"{unit} shares a namespace: {own}")
        self.holds(read(f"ps -o user= -p {pid}").strip() == "pourparler", f"{unit} is not its own user")
        group = "/sys/fs/cgroup" + self.show(unit, "ControlGroup")
        if self.guest.whole:
            self.holds(read(f"cat {group}/memory.swap.max").strip() == "0", f"{unit} may swap")
        for path in ("/etc", "/var/lib", "/opt/pourparler", "/usr"):
            done, _ = self.guest.try_out(f"nsenter -t {pid} -m touch {path}/probe")
            self.holds(done != 0, f"{unit} may write to {path}")
        send = (
            f'python3 -c \'import socket as s; s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b"?", ("{OUTSIDE}", 9))\''
        )
        self.holds(
            self.guest.try_out(send)[0] == 0, "this machine has no network, so nothing is known of the unit's"
        )
        _, told = self.guest.try_out(f"echo $$ > {group}/cgroup.procs; exec {send}")
        self.holds("Operation not permitted" in told, f"{unit} may speak to other machines: {told}")
        score = re.search(r"exposure level for \S+: ([\d.]+)", read(f"systemd-analyze security --no-pager {unit}"))
        self.holds(score is not None and float(score[1]) <= 1.5, f"{unit}: {score}")
        assert score is not None
        self.say(
            f"  {unit}: exposure {score[1]}; seccomp, no rights, namespaces, no swap, loopback only are in force"
        )

    def doors(self) -> None:
        told = self.block("deploy/tor/torrc")
        self.holds(".onion" in told, told)
        self.holds(self.active("tor@default"), "Tor does not run")
        self.door()
        self.inside("people", TLS)
        self.inside("odd", STRANGER)
        self.no_address()
        self.say(
            "  people have come by TLS, and oddly; nginx and the journal have no address. Tor has made an onion address"
        )

    def door(self) -> None:
        self.guest.type(f"ip address replace {STRANGER}/32 dev lo && echo {STRANGER} {NAME} >> /etc/hosts")
        self.block("YOUR-NAME")

    def no_address(self) -> None:
        self.guest.type("nginx -s reopen")
        told = self.guest.try_out(
            f"journalctl -q -g '{STRANGER}' -o cat; grep -rlF {STRANGER} /var/log --exclude-dir=journal"
        )[1]
        self.holds(not told.strip(), f"an address was written down:\n{told}")

    def backups(self) -> None:
        self.block("deploy/pourparler-backup.service")
        self.holds(self.show("pourparler-backup.timer", "SubState") == "waiting", "the timer does not wait")
        self.inside("keep", PLAIN, "/var/tmp/one.json")
        self.guest.type("systemctl start pourparler-backup")
        ring = self.guest.read("stat -c '%A %U %n' /var/backups/pourparler/*").splitlines()
        self.holds(len(ring) == 1 and re.fullmatch(r"-rw------- pourparler .*/hour-\d\d", ring[0]), f"{ring}")
        self.guest.type("cp /var/backups/pourparler/hour-* /var/tmp/copy.sqlite3")
        self.inside("keep", PLAIN, "/var/tmp/one.json")
        self.block("/var/lib/pourparler/pourparler.sqlite3-wal")
        self.wait("the restored service is there", lambda: self.active("pourparler"))
        told = json.loads(self.inside("look", PLAIN, "/var/tmp/one.json"))
        self.holds(told["new_incarnation"], f"a restored service tells nobody: {told}")
        self.inside("people", PLAIN)
        self.say(f"  a copy was made by the timer's service, and restored: {told}")

    def upgrade(self) -> None:
        """To a version that differs by a mark, so that it is known which one runs."""
        self.guest.type(
            "sed -i 's,pourparler-service/1,pourparler-service/1-walk,' service/pourparler_service/settings.py"
        )
        self.block("systemctl start pourparler-backup")
        told = self.guest.read(
            f"{PYTHON} -c 'import urllib.request as u; print(u.urlopen(\"{PLAIN}/v1/service\").read())'"
        )
        self.holds("pourparler-service/1-walk" in told, f"not the new version: {told}")

    def again(self) -> None:
        self.guest.reboot()
        self.wait("all is back", lambda: self.active("pourparler", "nginx", "tor@default"))
        self.holds(self.show("pourparler", "NRestarts") == "0", "it had to try more than once")
        self.inside("people", PLAIN)
        self.say("  after a restart of the machine all is back")
