/* The least that can be done: `floor LOG` waits for RTM_NEWADDR and sends the cells that differ in one transaction to an
 * emulated bus of 100 kHz: a transfer takes its time, then stands in LOG. Nothing else is looked after. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint8_t buffer[600];
static int count, rs = -1, out;

static void put(int data, uint8_t byte)
{
    uint8_t high = (byte & 0xf0) | 8 | data, low = (uint8_t)(byte << 4) | 8 | data;

    if (rs != data) {
        buffer[count++] = 8 | data;
        rs = data;
    }
    buffer[count++] = high | 4;
    buffer[count++] = high;
    buffer[count++] = low | 4;
    buffer[count++] = low;
}

static void pause_us(long us)
{
    struct timespec time = { us / 1000000, us % 1000000 * 1000 };

    nanosleep(&time, NULL);
}

static void transfer(void)
{
    char line[1300];
    struct timespec now;
    int length, i;

    if (count == 0)
        return;
    pause_us((9L * (count + 1) + 2) * 10);
    clock_gettime(CLOCK_REALTIME, &now);
    length = sprintf(line, "%lld T 27 ", now.tv_sec * 1000000000LL + now.tv_nsec);
    for (i = 0; i < count; i++)
        length += sprintf(line + length, "%02x", buffer[i]);
    line[length++] = '\n';
    if (write(out, line, length) != length)
        _exit(1);
    count = 0;
}

static void initialise(void)
{
    static const uint8_t nibbles[] = { 0x38, 0x38, 0x38, 0x28 }, commands[] = { 0x28, 0x0c, 0x06, 0x01 };
    unsigned i;

    for (i = 0; i < sizeof nibbles; i++) {
        buffer[count++] = nibbles[i];
        buffer[count++] = nibbles[i] | 4;
        buffer[count++] = nibbles[i];
        transfer();
        pause_us(4500);
    }
    for (i = 0; i < sizeof commands; i++) {
        put(0, commands[i]);
        transfer();
        pause_us(3000);
    }
}

static void show(char *shown, const char *wanted)
{
    int i, at = -1;

    for (i = 0; i < 16; i++) {
        if (wanted[i] == shown[i])
            continue;
        if (at != i)
            put(0, 0x80 + i);
        put(1, wanted[i]);
        at = i + 1;
    }
    memcpy(shown, wanted, 16);
    transfer();
}

int main(int argc, char **argv)
{
    struct sockaddr_nl group = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR };
    static char datagram[65536];
    char shown[17], wanted[64], text[INET_ADDRSTRLEN];
    int input = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

    out = open(argc > 1 ? argv[1] : "", O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (out < 0 || input < 0 || bind(input, (struct sockaddr *)&group, sizeof group) < 0)
        return 1;
    memset(shown, ' ', sizeof shown);
    initialise();
    for (;;) {
        int length = recv(input, datagram, sizeof datagram, 0);
        struct nlmsghdr *message = (struct nlmsghdr *)datagram;

        for (; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
            struct ifaddrmsg *address = NLMSG_DATA(message);
            struct rtattr *attribute = IFA_RTA(address);
            int rest = IFA_PAYLOAD(message);

            if (message->nlmsg_type != RTM_NEWADDR)
                continue;
            for (; RTA_OK(attribute, rest); attribute = RTA_NEXT(attribute, rest)) {
                if (attribute->rta_type != IFA_LOCAL)
                    continue;
                inet_ntop(AF_INET, RTA_DATA(attribute), text, sizeof text);
                snprintf(wanted, sizeof wanted, "%-16s", text);
                show(shown, wanted);
            }
        }
    }
}
