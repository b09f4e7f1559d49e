#!/usr/bin/env bash
# LCDproc's hd44780 driver switches the backlight on by pulling the PCF8574's pin low, by default (BacklightInvert=no), also with the
# eight i2c_line_* settings of the usual backpack, where a transistor lights the display while the pin is high. So "on" is dark.
#
# Seen with lcdproc 0.5.9 (Debian 12); /dev/i2c-1 is replaced by a recorder (LD_PRELOAD). An expert who knows that the light of all
# common libraries (LiquidCrystal_I2C, RPLCD) is pin high expects to need "invert" for the odd backpack, not for the usual one.
# Output: level of the backlight's pin, BacklightInvert=no: on "0", off "1"; BacklightInvert=yes: on "1", off "0".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(lcdproc=0.5.9-6+b2 lcdproc-extra-drivers=0.5.9-6+b2)

make_recorder() {
    command -v cc >/dev/null || give_up "it needs a C compiler for its recorder"
    cc -shared -fPIC -o recorder.so -x c - -ldl <<'SOURCE'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
static int bus = -1;
int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    if (strcmp(path, "/dev/i2c-1") == 0)
        return bus = next("bytes", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    return next(path, flags, mode);
}
int ioctl(int fd, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);
    int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return fd == bus ? 0 : next(fd, request, argument);
}
SOURCE
}

# Prints the pin's level in the last byte of a text that a client shows: pin BACKLIGHT INVERT.
pin() {
    cat >conf <<CONF
[server]
DriverPath=$FINDING_WORK/root/$(cd "$FINDING_WORK/root" && echo usr/lib/*/lcdproc)/
Driver=hd44780
Bind=127.0.0.1
Port=13666
User=root
ReportToSyslog=no
ServerScreen=no
Backlight=$1
[hd44780]
ConnectionType=i2c
Device=/dev/i2c-1
Port=0x27
Size=16x2
Backlight=yes
BacklightInvert=$2
i2c_line_RS=0x01
i2c_line_RW=0x02
i2c_line_EN=0x04
i2c_line_BL=0x08
i2c_line_D4=0x10
i2c_line_D5=0x20
i2c_line_D6=0x40
i2c_line_D7=0x80
CONF
    LD_PRELOAD=$PWD/recorder.so LCDd -f -c conf >log 2>&1 &
    local server=$!
    wait_until python3 -c 'import socket; socket.create_connection(("127.0.0.1", 13666))'
    python3 - "$1" <<'PYTHON'
import socket, sys, time
with socket.create_connection(("127.0.0.1", 13666)) as s:
    s.sendall(b"hello\nscreen_add s\nscreen_set s -heartbeat off -priority foreground -backlight %b\n" % sys.argv[1].encode())
    s.sendall(b"widget_add s t string\nwidget_set s t 1 1 hi\n")
    time.sleep(4)
    print(open("bytes", "rb").read()[-1] >> 3 & 1)
PYTHON
    stop "$server"
}

look() {
    make_recorder
    expect "BacklightInvert=no, on" 0 "$(pin on no)"
    expect "BacklightInvert=no, off" 1 "$(pin off no)"
    expect "BacklightInvert=yes, on" 1 "$(pin on yes)"
    expect "BacklightInvert=yes, off" 0 "$(pin off yes)"
}

run_finding
