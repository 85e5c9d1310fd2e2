#!/bin/sh
# Managed by Salt (salt/common). Packages ask here before they start, restart or stop a service, whoever
# installs them: an apply, an operator, or unattended-upgrades. An upgrade must not restart what serves,
# because it would take no turn: the next apply does that (`daemon.upgraded`, `quorum.joined`,
# `gluster.current`). 101 forbids the action.
while [ "${1#--}" != "$1" ]; do shift; done
case ${1%.service} in
etcd | fcgiwrap | glusterd | haproxy | keepalived | nagios4 | nginx | nullmailer | pgbouncer | prometheus)
    case $2 in
    stop | *restart* | *reload*) exit 101 ;;
    esac
    ;;
esac
exit 0
