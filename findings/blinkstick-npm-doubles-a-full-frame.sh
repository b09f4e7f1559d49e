#!/usr/bin/env bash
# The npm library `blinkstick` sends colours for exactly 8 LEDs, all that a BlinkStick Square or Strip has, by the report for 16: 50
# bytes instead of 26 over a low-speed bus. 16 go by the report for 32, 32 by that for 64; one LED less takes the fitting report.
#
# Seen with blinkstick 1.2.0 (from npm); node-hid is replaced by a recorder. The Python library and an expert take report 6 for 8.
# Output: 7 LEDs: report 6, 26 bytes; 8: report 7, 50 bytes; 16: report 8, 98 bytes; 32: report 9, 194 bytes.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
npms=(blinkstick@1.2.0)

record() {
    NODE_PATH=$FINDING_WORK/node/node_modules node - <<'JAVASCRIPT'
const Module = require("module");
const load = Module._load;
const sent = [];
class HID { sendFeatureReport(data) { sent.push(data); } }
const devices = () => [{ vendorId: 0x20a0, productId: 0x41e5, path: "/dev/hidraw0", serialNumber: "BS000001-3.0" }];
Module._load = (name, ...rest) => (name === "node-hid" ? { HID, devices } : load(name, ...rest));
const stick = require("blinkstick").findFirst();
for (const leds of [7, 8, 16, 32]) {
    stick.setColors(0, new Array(leds * 3).fill(1));
    const report = sent.pop();
    console.log(`${leds}: report ${report[0]}, ${report.length} bytes`);
}
JAVASCRIPT
}

look() {
    record >out
    expect "7 LEDs" "report 6, 26 bytes" "$(sed -n 's/^7: //p' out)"
    expect "8 LEDs" "report 7, 50 bytes" "$(sed -n 's/^8: //p' out)"
    expect "16 LEDs" "report 8, 98 bytes" "$(sed -n 's/^16: //p' out)"
    expect "32 LEDs" "report 9, 194 bytes" "$(sed -n 's/^32: //p' out)"
}

run_finding
