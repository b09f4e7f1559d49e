#!/bin/bash
# A node, as a machine of its own: on before its head has anything to offer, and off by the head's word.
set -u
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
cd /

echo "=== BEGIN"
step "the node asks for an address" node_asks_for_address
step "the guide's lines for its fstab" node_has_line_in_fstab
step "it writes to the shared disk as soon as that is there" node_writes
step "the guide's line for its power" node_takes_key
echo "=== END $passed passed, $failed failed"
