#!/bin/sh
# The tests of mail talk to a real Dovecot and a real Postfix; where they are missing and apt can be used, install them.
# Nothing is started here: the tests run both with a configuration of their own, and end them.
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
have dovecot && have postfix && exit 0
command -v apt-get >/dev/null 2>&1 || exit 0
[ "$(id -u)" = 0 ] || exit 0
export DEBIAN_FRONTEND=noninteractive
install() { RUNLEVEL=1 apt-get install -y --no-install-recommends dovecot-imapd dovecot-lmtpd postfix >/dev/null 2>&1; }
install && exit 0
apt-get update >/dev/null 2>&1 && install
