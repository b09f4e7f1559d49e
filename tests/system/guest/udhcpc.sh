#!/bin/sh
# What a node does with its lease; called by busybox udhcpc in the node's network and mount namespaces.
# shellcheck disable=SC2154  # the lease comes in the environment
case $1 in
bound | renew)
    ip address flush dev "$interface" scope global
    ip address add "$ip/$mask" dev "$interface"
    ip route replace default via "$router"
    printf 'search %s\nnameserver %s\n' "$domain" "$dns" >/etc/resolv.conf
    ;;
esac
