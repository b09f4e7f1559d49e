#!/bin/bash
# The head of a stranger, who has README and the guide. The node is a machine of its own (node.sh), behind eth0.
set -u
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
cd /

echo "=== BEGIN"
step "USB devices appear: hidraw and an I2C bus" need_devices
step "a venue with a DHCP server" need_venue
step "the uplink has an address before anything is installed" need_fresh_machine
step "README: packages, address on the glass, three questions" stranger_installs
step "the node is up, the LED green, doctor content" stranger_sees_all_is_well
step "the guide: a disk for all nodes, which the node writes to" stranger_shares_disk
step "the guide: a key for the nodes' power" stranger_makes_key
step "shutdown of all: the node, then the head" stranger_packs_up
# It ends in a prompt, without a line's end.
(tr -d '\r' </run/typescript && echo) | sed 's/^/=== terminal: /'
echo "=== END $passed passed, $failed failed"
