// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The quick way of the CLAT (464XLAT, RFC 6877): packets that RFC 7915 translates header by header.
 *
 *   clat_outward   egress of the TUN device    IPv4 of the one behind becomes IPv6 and leaves by the uplink
 *   clat_inward    ingress of the uplink       IPv6 for its address becomes IPv4 and comes in at the TUN device
 *   clat_returned  ingress of the TUN device   IPv6 that the program in user space made leaves by the uplink
 *
 * Whatever takes more than a new header goes on to the TUN device, where the program in user space (crates/clat) reads it:
 * packets that have to be fragmented, ICMP errors with what they quote, UDP without a checksum, options, extension headers,
 * segments that are not of TCP, and all that has to be refused with an error. So nothing is decided twice.
 *
 * Made into clat.bpf.o by build.sh, which is checked in.
 */
#include "helpers.h"
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

/* On the way to the next program, and then to where it was going. */
#define PASS TC_ACT_UNSPEC
#define DROP TC_ACT_SHOT

#define DF 0x4000
#define MF 0x2000
#define OFFSET 0x1fff
/* Every IPv6 link carries so much (RFC 8200, section 5); what may be fragmented is not sent larger (RFC 7915, section 4). */
#define LEAST_MTU 1280
/* Up to this length a packet without a fragment header may be fragmented again (RFC 7915, section 5.1). */
#define MAY_BE_FRAGMENTED 1260
#define PACKET_HOST 0
#define PROTO_GRE 47
#define PROTO_FRAGMENT 44
#define PROTO_ICMPV6 58
#define PROTO_SCTP 132

/* Written by the loader (src/bin/bramblegate-clat/kernel.rs); the order is the same there. */
struct settings {
	/* The NAT64 prefix in host order, with zeros behind it, and its length in bits (RFC 6052). */
	__u64 prefix_high, prefix_low;
	/* The IPv6 address of the one behind, as on the wire. */
	__be64 own6[2];
	__be32 own4;
	__u32 prefix_length;
	__u32 uplink;
	__u32 device;
	__u32 mtu;
	__u32 flags;
};

/* The address is the head's own as well: inward only what flows of the one behind expect. */
#define SHARED 1
/* Addresses that are not global are kept off the prefix (RFC 6052, section 3.1). */
#define ONLY_GLOBAL 2

/* A flow that went outward; for echoes both ports are the identifier. */
struct flow {
	__be32 remote;
	__be16 own_port, remote_port;
	__u32 protocol;
};

/* A datagram in fragments, of which the first belonged to a flow. */
struct datagram {
	__be32 remote;
	__be32 identification;
};

struct map SEC("maps") SETTINGS = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct settings), 1, 0 };
struct map SEC("maps") FLOWS = { BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow), sizeof(__u32), 16384, 0 };
struct map SEC("maps") DATAGRAMS = { BPF_MAP_TYPE_LRU_HASH, sizeof(struct datagram), sizeof(__u32), 1024, 0 };

struct fragment_header {
	__u8 next, reserved;
	__be16 offset;
	__be32 identification;
};

/* As on the wire; `fragment` only where there is one. */
struct six {
	struct ipv6hdr header;
	struct fragment_header fragment;
};

/* The beginning of a transport header: ports, or type, code, checksum and identifier. */
union transport {
	struct { __be16 from, to, length, checksum; } ports;
	struct { __u8 type, code; __be16 checksum, identifier, sequence; } icmp;
};

/* What ICMPv6's checksum covers and ICMP's does not (RFC 8200, section 8.1), and the octets that change. */
struct pseudo {
	__be32 length, protocol;
	__u8 type, code;
	__be16 zero;
};

INLINE struct settings *settings(void)
{
	__u32 only = 0;
	return lookup(&SETTINGS, &only);
}

/* Whether a packet may go to an address of IPv4, or come from it, as far as it is a host's (RFC 7915, section 4.1). */
INLINE int is_unicast(__u32 address)
{
	__u32 first = address >> 24;
	return first != 0 && first != 127 && first >> 4 != 0xe && address != 0xffffffff;
}

/* The registry of special addresses (RFC 6890), as in crates/clat/src/address.rs. */
INLINE int is_global(__u32 address)
{
	return !((address >> 24) == 0 || (address >> 24) == 10 || (address >> 24) == 127 || (address >> 28) == 0xf ||
		 (address >> 22) == 0x6440 >> 6 || (address >> 16) == 0xa9fe || (address >> 20) == 0xac1 ||
		 ((address >> 8) == 0xc00000 && address != 0xc0000009 && address != 0xc000000a) ||
		 (address >> 8) == 0xc00002 || (address >> 16) == 0xc0a8 || (address >> 17) == 0xc612 >> 1 ||
		 (address >> 8) == 0xc63364 || (address >> 8) == 0xcb0071);
}

/* Writes the IPv6 address that stands for one of IPv4 (RFC 6052, section 2.2). Behind prefixes of up to 64 bits the octet of
 * bits 64 to 71 is zero; `rest` bits of the address stand behind it. */
INLINE void embed(const struct settings *set, __u32 address, __be64 out[2])
{
	__u64 high = set->prefix_high, low = set->prefix_low;
	if (set->prefix_length == 96) {
		low |= address;
	} else {
		__u32 rest = (set->prefix_length - 32) & 63;
		high |= (__u64)address >> rest;
		low = ((__u64)address & ((1ULL << rest) - 1)) << ((56 - rest) & 63);
	}
	out[0] = host64(high);
	out[1] = host64(low);
}

/* Reads the IPv4 address that one of IPv6 stands for; 0 where it is none of the prefix. */
INLINE __u32 extract(const struct settings *set, const __be64 in[2])
{
	__u64 high = host64(in[0]), low = host64(in[1]);
	if (set->prefix_length == 96) {
		if (high != set->prefix_high || (low ^ set->prefix_low) >> 32)
			return 0;
		return (__u32)low;
	}
	__u32 rest = (set->prefix_length - 32) & 63;
	__u32 behind = (64 - set->prefix_length) & 63;
	if ((high ^ set->prefix_high) >> behind || low >> 56)
		return 0;
	__u64 mask = (1ULL << behind) - 1;
	return (__u32)((high & mask) << rest | (low >> ((56 - rest) & 63) & ((1ULL << rest) - 1)));
}

/* Whether the transport header is all that stands between a new IP header and the wire; the places of checksums. */
INLINE int checksum_place(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_ICMP:
	case PROTO_ICMPV6:
		return 2;
	case PROTO_GRE:
	case IPPROTO_ESP:
	case PROTO_SCTP:
		return 0;
	default:
		return -1;
	}
}

/* Adds the Ethernet header that the stack strips before it looks for the next hop; it stays empty. */
INLINE int by_uplink(struct __sk_buff *skb, const struct settings *set)
{
	__u32 uplink = set->uplink;
	if (change_head(skb, ETH_HLEN, 0))
		return DROP;
	return redirect_neigh(uplink, 0, 0, 0);
}

INLINE struct flow flow_of(__be32 remote, __u8 protocol, const union transport *upper, int out)
{
	struct flow flow = { .remote = remote, .protocol = protocol };
	if (protocol == IPPROTO_ICMP) {
		flow.own_port = flow.remote_port = upper->icmp.identifier;
	} else if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == PROTO_SCTP) {
		flow.own_port = out ? upper->ports.from : upper->ports.to;
		flow.remote_port = out ? upper->ports.to : upper->ports.from;
	}
	return flow;
}

INLINE void remember(__be32 remote, __u8 protocol, const union transport *upper)
{
	struct flow flow = flow_of(remote, protocol, upper, 1);
	__u32 here = 1;
	if (!lookup(&FLOWS, &flow))
		update(&FLOWS, &flow, &here, BPF_ANY);
}

/* Whether an IPv4 packet fits the way as it is, without being cut (RFC 7915, section 4). */
INLINE int fits_outward(struct __sk_buff *skb, const struct settings *set, const struct iphdr *ip, __u32 fragment)
{
	__u32 extra = sizeof(struct ipv6hdr) - sizeof(*ip);
	__u32 total = host16(ip->tot_len);
	if (!skb->gso_size) {
		__u32 whole = (fragment & DF) || ip->protocol == IPPROTO_ICMP;
		if (fragment & (MF | OFFSET))
			extra += sizeof(struct fragment_header);
		return total == skb->len && total + extra <= (whole ? set->mtu : LEAST_MTU);
	}
	__u8 words;
	if (ip->protocol != IPPROTO_TCP || (fragment & (DF | MF | OFFSET)) != DF || load(skb, sizeof(*ip) + 12, &words, 1))
		return 0;
	return total == skb->len && sizeof(struct ipv6hdr) + (words >> 4) * 4 + skb->gso_size <= set->mtu;
}

SEC("classifier/outward")
int clat_outward(struct __sk_buff *skb)
{
	struct settings *set = settings();
	/* IPv6 is on its way to user space. */
	if (!set || skb->protocol != be16(ETH_P_IP))
		return PASS;
	struct {
		struct iphdr ip;
		union transport upper;
	} in = {};
	if (load(skb, 0, &in.ip, sizeof(in.ip)))
		return PASS;
	__u32 remote = host32(in.ip.daddr);
	__u32 fragment = host16(in.ip.frag_off);
	__u32 offset = (fragment & OFFSET) * 8;
	__u32 piece = fragment & (MF | OFFSET);
	__u32 payload = host16(in.ip.tot_len) - sizeof(in.ip);
	int place = checksum_place(in.ip.protocol);
	if (in.ip.version != 4 || in.ip.ihl != 5 || in.ip.saddr != set->own4)
		return PASS;
	if (!offset && load(skb, sizeof(in.ip), &in.upper, sizeof(in.upper)))
		return PASS;
	/* Answers to what takes the slow way are expected as well. */
	if ((set->flags & SHARED) && !offset && (in.ip.protocol != IPPROTO_ICMP || !(in.upper.icmp.type & ~8)))
		remember(in.ip.daddr, in.ip.protocol, &in.upper);
	if (in.ip.daddr == set->own4 || !in.ip.ttl || place < 0 || in.ip.protocol == PROTO_ICMPV6 || !is_unicast(remote) ||
	    ((set->flags & ONLY_GLOBAL) && !is_global(remote)) || !fits_outward(skb, set, &in.ip, fragment))
		return PASS;
	if (offset)
		place = 0;
	else if (payload < (in.ip.protocol == IPPROTO_TCP ? 20 : 8))
		return PASS;
	if (((fragment & MF) && payload % 8) || offset + payload > 0xffff)
		return PASS;
	if (!offset && in.ip.protocol == IPPROTO_UDP && !in.upper.ports.checksum)
		return PASS;
	if (in.ip.protocol == IPPROTO_ICMP && (piece || (in.upper.icmp.type & ~8)))
		return PASS;

	struct six out = {};
	__u32 size = sizeof(out.header);
	__u8 next = in.ip.protocol == IPPROTO_ICMP ? PROTO_ICMPV6 : in.ip.protocol;
	*(__be32 *)&out.header = be32(6U << 28 | (__u32)in.ip.tos << 20);
	out.header.nexthdr = next;
	if (piece) {
		size = sizeof(out);
		out.header.nexthdr = PROTO_FRAGMENT;
		out.fragment.next = next;
		out.fragment.offset = be16((__u16)(offset | !!(fragment & MF)));
		out.fragment.identification = be32((__u32)host16(in.ip.id));
	}
	out.header.payload_len = be16((__u16)(payload + size - sizeof(out.header)));
	out.header.hop_limit = in.ip.ttl;
	__be64 addresses[4] = { set->own6[0], set->own6[1] };
	embed(set, remote, addresses + 2);
	__builtin_memcpy(&out.header.saddr, addresses, sizeof(addresses));
	__s64 diff;
	if (in.ip.protocol == IPPROTO_ICMP) {
		struct pseudo old = { .type = in.upper.icmp.type, .code = in.upper.icmp.code };
		struct pseudo new = { be32(payload), be32(PROTO_ICMPV6), old.type ? 128 : 129, old.code, 0 };
		diff = csum_diff(&old, sizeof(old), &new, sizeof(new), 0);
		diff = csum_diff(0, 0, addresses, sizeof(addresses), diff);
		in.upper.icmp.type = new.type;
	} else {
		diff = csum_diff(&in.ip.saddr, 8, addresses, sizeof(addresses), 0);
	}

	if (change_proto(skb, be16(ETH_P_IPV6), 0))
		return DROP;
	if (piece && adjust_room(skb, sizeof(out.fragment), BPF_ADJ_ROOM_NET, 0))
		return DROP;
	if (piece ? store(skb, 0, &out, sizeof(out), 0) : store(skb, 0, &out, sizeof(out.header), 0))
		return DROP;
	if (in.ip.protocol == IPPROTO_ICMP && store(skb, size, &in.upper.icmp.type, 1, 0))
		return DROP;
	__u64 flags = BPF_F_PSEUDO_HDR | (in.ip.protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
	if (place && l4_csum_replace(skb, size + place, 0, diff, flags))
		return DROP;
	return by_uplink(skb, set);
}

/* Whether an ICMPv6 error is about a packet of a flow of the one behind (RFC 7915, section 5.3). */
INLINE int about_flow(struct __sk_buff *skb, const struct settings *set, __u32 at)
{
	struct six quoted = {};
	union transport upper = {};
	__u32 size = sizeof(quoted.header);
	if (load(skb, at, &quoted, sizeof(quoted)))
		return 0;
	__u8 next = quoted.header.nexthdr;
	if (next == PROTO_FRAGMENT) {
		next = quoted.fragment.next;
		size = sizeof(quoted);
	}
	if (load(skb, at + size, &upper, sizeof(upper)))
		return 0;
	__be64 addresses[4];
	__builtin_memcpy(addresses, &quoted.header.saddr, sizeof(addresses));
	__u32 remote = extract(set, addresses + 2);
	struct flow flow = flow_of(be32(remote), next == PROTO_ICMPV6 ? IPPROTO_ICMP : next, &upper, 1);
	return remote && lookup(&FLOWS, &flow) != 0;
}

/* Whether a packet belongs to a flow of the one behind, or is a fragment of one that did. */
INLINE int of_flow(__be32 remote, __u8 protocol, const union transport *upper, const struct fragment_header *fragment)
{
	struct datagram datagram = { remote, fragment->identification };
	__u32 here = 1;
	if (fragment->offset & be16(0xfff8))
		return lookup(&DATAGRAMS, &datagram) != 0;
	struct flow flow = flow_of(remote, protocol, upper, 0);
	if (!lookup(&FLOWS, &flow))
		return 0;
	if (fragment->offset)
		update(&DATAGRAMS, &datagram, &here, BPF_ANY);
	return 1;
}

/* To the program in user space, as it is. */
INLINE int to_user(const struct settings *set)
{
	return redirect(set->device, 0);
}

SEC("classifier/inward")
int clat_inward(struct __sk_buff *skb)
{
	struct settings *set = settings();
	if (!set || skb->protocol != be16(ETH_P_IPV6) || skb->pkt_type != PACKET_HOST)
		return PASS;
	struct ipv6hdr ip;
	__be64 addresses[4];
	if (load(skb, ETH_HLEN, &ip, sizeof(ip)))
		return PASS;
	__builtin_memcpy(addresses, &ip.saddr, sizeof(addresses));
	if (addresses[2] != set->own6[0] || addresses[3] != set->own6[1])
		return PASS;

	__u32 shared = set->flags & SHARED;
	int foreign = shared ? PASS : DROP;
	union transport upper = {};
	struct fragment_header fragment = {};
	__u32 old_size = sizeof(ip);
	__u8 next = ip.nexthdr;
	if (next == PROTO_FRAGMENT) {
		if (load(skb, ETH_HLEN + sizeof(ip), &fragment, sizeof(fragment)))
			return foreign;
		next = fragment.next;
		old_size += sizeof(fragment);
	}
	__u32 offset = host16(fragment.offset) & 0xfff8;
	__u32 piece = host16(fragment.offset) & 0xfff9;
	__u32 whole = sizeof(ip) + host16(ip.payload_len);
	__u32 payload = whole - old_size;
	if (whole < old_size)
		return foreign;
	if (!offset && payload >= sizeof(upper) && load(skb, ETH_HLEN + old_size, &upper, sizeof(upper)))
		return foreign;
	if (next == PROTO_ICMPV6 && !offset) {
		/* Neighbour discovery, of the address itself. */
		if (upper.icmp.type >= 133 && upper.icmp.type <= 137)
			return PASS;
		/* Errors come from any router. */
		if (upper.icmp.type < 128)
			return shared && !about_flow(skb, set, ETH_HLEN + old_size + 8) ? PASS : to_user(set);
	}
	__u32 remote = extract(set, addresses);
	if (!is_unicast(remote) || be32(remote) == set->own4 || ((set->flags & ONLY_GLOBAL) && !is_global(remote)))
		return foreign;
	__u8 protocol = next == PROTO_ICMPV6 ? IPPROTO_ICMP : next;
	if (shared && !of_flow(be32(remote), protocol, &upper, &fragment))
		return PASS;

	int place = checksum_place(next);
	if (place < 0 || next == IPPROTO_ICMP || !ip.hop_limit || whole != skb->len - ETH_HLEN || !payload ||
	    (skb->gso_size && (next != IPPROTO_TCP || ip.nexthdr != next)) || payload > 0xffff - sizeof(struct iphdr) ||
	    ((piece & 1) && payload % 8) || offset + payload > 0xffff)
		return to_user(set);
	if (offset)
		place = 0;
	else if (payload < (next == IPPROTO_TCP ? 20 : 8))
		return to_user(set);
	if (next == PROTO_ICMPV6 && (piece || (upper.icmp.type & ~1) != 128))
		return to_user(set);

	__u32 total = sizeof(struct iphdr) + payload;
	__u32 sent = total;
	if (skb->gso_size) {
		__u8 words = 0;
		if (load(skb, ETH_HLEN + sizeof(ip) + 12, &words, 1))
			return DROP;
		sent = sizeof(struct iphdr) + (words >> 4) * 4 + skb->gso_size;
	}
	struct iphdr out = { .version = 4, .ihl = 5, .ttl = ip.hop_limit, .protocol = protocol, .saddr = be32(remote) };
	out.tos = host32(*(__be32 *)&ip) >> 20;
	out.tot_len = be16((__u16)total);
	out.daddr = set->own4;
	if (ip.nexthdr == PROTO_FRAGMENT) {
		out.id = (__be16)(fragment.identification >> 16);
		out.frag_off = be16((__u16)(offset >> 3 | (piece & 1 ? MF : 0)));
	} else {
		out.id = (__be16)random32();
		out.frag_off = sent > MAY_BE_FRAGMENTED ? be16(DF) : 0;
	}
	__u64 sum = csum_diff(0, 0, (__be32 *)&out, sizeof(out), 0);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
	out.check = ~(__u16)((sum & 0xffff) + (sum >> 16));
	__s64 diff;
	if (next == PROTO_ICMPV6) {
		struct pseudo old = { be32(payload), be32(PROTO_ICMPV6), upper.icmp.type, upper.icmp.code, 0 };
		struct pseudo new = { .type = old.type == 128 ? 8 : 0, .code = old.code };
		diff = csum_diff(&old, sizeof(old), &new, sizeof(new), 0);
		diff = csum_diff(addresses, sizeof(addresses), 0, 0, diff);
		upper.icmp.type = new.type;
	} else {
		diff = csum_diff(addresses, sizeof(addresses), &out.saddr, 8, 0);
	}

	if (change_proto(skb, be16(ETH_P_IP), 0))
		return DROP;
	if (ip.nexthdr == PROTO_FRAGMENT && adjust_room(skb, -(__s32)sizeof(fragment), BPF_ADJ_ROOM_NET, 0))
		return DROP;
	/* A network card may have summed up the whole packet; that sum is kept right. */
	if (store(skb, ETH_HLEN, &out, sizeof(out), BPF_F_RECOMPUTE_CSUM))
		return DROP;
	__u32 at = ETH_HLEN + sizeof(out);
	if (next == PROTO_ICMPV6 && store(skb, at, &upper.icmp.type, 1, BPF_F_RECOMPUTE_CSUM))
		return DROP;
	__u64 flags = BPF_F_PSEUDO_HDR | (next == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
	if (place && l4_csum_replace(skb, at + place, 0, diff, flags))
		return DROP;
	return redirect(set->device, BPF_F_INGRESS);
}

SEC("classifier/returned")
int clat_returned(struct __sk_buff *skb)
{
	struct settings *set = settings();
	if (!set || skb->protocol != be16(ETH_P_IPV6))
		return PASS;
	return by_uplink(skb, set);
}

/* For scripts/lint.sh: only the same compiler makes the same instructions. */
char SEC("compiler") COMPILER[] = __clang_version__;
/* No helper used here asks for a licence that the kernel takes for compatible with its own. */
char SEC("license") LICENSE[] = "MIT OR Apache-2.0";
