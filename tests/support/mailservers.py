"""A real Dovecot and a real Postfix as child processes, each with a configuration and a folder of its own, on free ports."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import os
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.server import free_port

PASSWORD = 'pass "word" %\\'
_SBIN = "/usr/sbin"
_POSTFIX = Path("/usr/lib/postfix/sbin")


def require(*programs: str) -> None:
    """Skips, saying how to get them."""
    missing = [name for name in programs if shutil.which(name) is None and not Path(_SBIN, name).exists()]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: scripts/mailservers.sh installs them")
    if os.getuid() != 0:
        pytest.skip("Dovecot and Postfix change their users when they start: run as root")


def certificate(home: Path) -> None:
    """cert.pem and key.pem for 127.0.0.1, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (home / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (home / "key.pem").write_bytes(private)


def _home(prefix: str) -> Path:
    home = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    home.chmod(0o755)
    return home


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"the mail server does not answer:\n{log.read_text()[-3000:] if log.exists() else ''}")


@dataclass
class Dovecot:
    """IMAP with IDLE (and TLS), LMTP for putting mail in, and the passwords for Postfix. Any user has PASSWORD."""

    home: Path = field(default_factory=lambda: _home("rt-dovecot-"))
    imap_port: int = field(default_factory=free_port)
    imaps_port: int = field(default_factory=free_port)
    lmtp_port: int = field(default_factory=free_port)
    auth_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Dovecot:
        require("dovecot")
        certificate(self.home)
        (self.home / "dovecot.conf").write_text(self._config())
        mail = self.home / "mail"
        mail.mkdir()
        shutil.chown(mail, "dovecot", "dovecot")
        self.process = subprocess.Popen(
            [f"{_SBIN}/dovecot", "-F", "-c", str(self.home / "dovecot.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in (self.imap_port, self.lmtp_port):
            _wait_for(port, self.process, self.home / "dovecot.log")
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)

    def _config(self) -> str:
        return f"""
protocols = imap lmtp
listen = 127.0.0.1
base_dir = {self.home}/run
state_dir = {self.home}/state
log_path = {self.home}/dovecot.log
ssl = yes
ssl_cert = <{self.home}/cert.pem
ssl_key = <{self.home}/key.pem
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = maildir:{self.home}/mail/%u
mail_max_userip_connections = 100
first_valid_uid = 1
passdb {{
  driver = static
  args = password={{PLAIN.b64}}{base64.b64encode(PASSWORD.encode()).decode()}
}}
userdb {{
  driver = static
  args = uid=dovecot gid=dovecot home={self.home}/mail/%u allow_all_users=yes
}}
service imap-login {{
  inet_listener imap {{
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    port = {self.imaps_port}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {self.lmtp_port}
  }}
}}
service auth {{
  inet_listener postfix {{
    port = {self.auth_port}
  }}
}}
protocol lmtp {{
  postmaster_address = postmaster@customer.example
  auth_username_format = %Lu
}}
"""

    def url(self, user: str, *, scheme: str = "imap", port: int | None = None, more: str = "?starttls=never") -> str:
        chosen = port or (self.imaps_port if scheme == "imaps" else self.imap_port)
        return f"{scheme}://{quote(user, safe='')}:{quote(PASSWORD, safe='')}@127.0.0.1:{chosen}{more}"

    def deliver(self, user: str, *mails: bytes) -> None:
        """As an MTA does it."""
        with smtplib.LMTP("127.0.0.1", self.lmtp_port) as lmtp:
            for mail in mails:
                lmtp.sendmail("sender@customer.example", [user], mail)

    @contextlib.contextmanager
    def login(self, user: str, folder: str = "INBOX") -> Iterator[imaplib.IMAP4]:
        client = imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=30)
        try:
            client.login(user, PASSWORD)
            client.select(folder)
            yield client
        finally:
            client.logout()

    def append(self, user: str, mail: bytes, *, folder: str = "INBOX", at: datetime | None = None) -> None:
        """Bytes that no MTA would take."""
        with self.login(user) as client:
            client.create(folder)
            status, told = client.append(folder, "", at, mail)
            assert status == "OK", told

    def mails(self, user: str, folder: str = "INBOX") -> list[EmailMessage]:
        with self.login(user, folder) as client:
            _, found = client.search(None, "ALL")
            numbers = found[0].split() if found and found[0] else []
            raw = [client.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1] for number in numbers]  # type: ignore[index]
        return [message_from_bytes(one, policy=policy.default) for one in raw]  # type: ignore[arg-type]

    def flags(self, user: str) -> list[str]:
        with self.login(user) as client:
            _, found = client.fetch("1:*", "(FLAGS)")
            return [one.decode() for one in found if isinstance(one, bytes)]

    def number_anew(self, user: str, *, without: str) -> None:
        """Another UIDVALIDITY, and UIDs from 1 on: as after a mailbox was restored from a backup, but for one mail."""
        folder = self.home / "mail" / user
        head = (folder / "dovecot-uidlist").read_text().split("\n", 1)[0]
        found = re.search(r"V(\d+)", head)
        assert found is not None
        lost = [path for path in (*folder.glob("cur/*"), *folder.glob("new/*")) if without in path.read_text()]
        for path in (*folder.glob("dovecot*"), *lost):
            path.unlink()
        (folder / "dovecot-uidlist").write_text(f"3 V{int(found[1]) + 1} N1\n")
        shutil.chown(folder / "dovecot-uidlist", "dovecot", "dovecot")

    def kick(self, user: str) -> None:
        subprocess.run(
            ["/usr/bin/doveadm", "-c", str(self.home / "dovecot.conf"), "kick", user],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@dataclass
class Postfix:
    """SMTP with DSN, SIZE, SMTPUTF8, STARTTLS and Dovecot's passwords; *@customer.example goes into Dovecot's mailboxes."""

    dovecot: Dovecot
    home: Path = field(default_factory=lambda: _home("rt-postfix-"))
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Postfix:
        require("postfix")
        certificate(self.home)
        for name in ("queue", "data", "conf"):
            (self.home / name).mkdir()
        shutil.chown(self.home / "data", "postfix")
        (self.home / "conf" / "main.cf").write_text(self._main())
        (self.home / "conf" / "master.cf").write_text(self._master())
        environment = {**os.environ, "MAIL_CONFIG": str(self.home / "conf")}
        subprocess.run([f"{_SBIN}/postfix", "-c", str(self.home / "conf"), "check"], check=True, capture_output=True)
        self.process = subprocess.Popen(
            [str(_POSTFIX / "master"), "-d", "-c", str(self.home / "conf")],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_for(self.port, self.process, self.home / "postfix.log")
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)

    def _main(self) -> str:
        return f"""
compatibility_level = 3.6
queue_directory = {self.home}/queue
data_directory = {self.home}/data
daemon_directory = {_POSTFIX}
command_directory = {_SBIN}
maillog_file = {self.home}/postfix.log
maillog_file_prefixes = /tmp
myhostname = mx.customer.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.2/32
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = customer.example, shop.example, xn--bcher-kva.example
virtual_mailbox_maps = inline:{{ {{ grace@customer.example = yes }}, {{ gone@customer.example = yes }}, {{ archive@shop.example = yes }}, {{ bounces@shop.example = yes }}, {{ care@shop.example = yes }},
  {{ jörg@customer.example = yes }}, {{ ida@xn--bcher-kva.example = yes }} }}
transport_maps = inline:{{ {{ gone@customer.example = fail: }} }}
virtual_transport = lmtp:inet:127.0.0.1:{self.dovecot.lmtp_port}
recipient_delimiter = +
message_size_limit = 200000
smtputf8_enable = yes
smtpd_tls_security_level = may
smtpd_tls_cert_file = {self.home}/cert.pem
smtpd_tls_key_file = {self.home}/key.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{self.dovecot.auth_port}
smtpd_recipient_restrictions = reject_unauth_destination
"""

    def _master(self) -> str:
        one = ("tlsmgr unix - - n 1000? 1 tlsmgr", "verify unix - - n - 1 verify", "proxywrite unix - - n - 1 proxymap")
        sockets = [
            "pickup unix n - n 60 1 pickup",
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr",
            *one,
        ]
        programs = {"rewrite": "trivial-rewrite", "defer": "bounce", "trace": "bounce"}
        names = ("rewrite", "bounce", "defer", "trace", "proxymap", "smtp", "error", "retry", "discard", "lmtp")
        programs["retry"] = "error"
        sockets += [f"{name} unix - - n - 0 {programs.get(name, name)}" for name in names]
        sockets += ["anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache", "flush unix n - n 1000? 0 flush"]
        # It takes the mail first and finds out later that nobody is there (67: EX_NOUSER).
        sockets += ["fail unix - n n - - pipe flags=R user=nobody argv=/bin/sh -c {exit 67}"]
        sockets += ["showq unix n - n - - showq", "postlog unix-dgram n - n - 1 postlogd"]
        return f"127.0.0.1:{self.port} inet n - n - - smtpd\n" + "\n".join(sockets) + "\n"

    def url(self, user: str = "", *, password: str = PASSWORD, more: str = "") -> str:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        return f"smtp://{login}127.0.0.1:{self.port}{more}"
