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
 * Of the stack, instructions write eight octets at once, and nothing that a helper writes to. Without CAP_PERFMON the verifier of
 * many kernels (6.1 for good, others until b0e66977dc07 of 6.13) else takes a number there for a pointer that is overwritten in
 * part, and refuses the program. So headers are numbers in host order, and become octets only where a helper reads them.
 *
 * Made into clat.bpf.o by build.sh, which is checked in.
 */
#include "helpers.h"
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stddef.h>

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
	/* The router behind which the whole prefix lies, as the kernel takes it; of use with LED alone. */
	struct bpf_redir_neigh next_hop;
	__u32 unused;
};

/* The address is the head's own as well: inward only what flows of the one behind expect. */
#define SHARED 1
/* Addresses that are not global are kept off the prefix (RFC 6052, section 3.1). */
#define ONLY_GLOBAL 2
/* The next hop is known: no packet needs a look at the routes. */
#define LED 4

/* A flow that went outward: its remote address, its own port and the remote one, 32 and twice 16 bits; for echoes both ports are
 * the identifier. */
struct flow {
	__u64 ends, protocol;
};

struct map SEC("maps") SETTINGS = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct settings), 1, 0 };
struct map SEC("maps") FLOWS = { BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow), sizeof(__u64), 16384, 0 };
/* Datagrams in fragments, of which the first belonged to a flow: remote address and identification. */
struct map SEC("maps") DATAGRAMS = { BPF_MAP_TYPE_LRU_HASH, sizeof(__u64), sizeof(__u64), 1024, 0 };

/* Octets of an IPv6 header and of a fragment header. */
#define SIX sizeof(struct ipv6hdr)
#define FRAGMENT 8

/* Fields of the first eight octets of an IPv6 header, as a number. */
#define SIX_CLASS(WORD) ((__u8)((WORD) >> 52))
#define SIX_LENGTH(WORD) ((__u16)((WORD) >> 16))
#define SIX_NEXT(WORD) ((__u8)((WORD) >> 8))
#define SIX_HOPS(WORD) ((__u8)(WORD))

/* Fields of a fragment header, and of the first eight octets of a transport header. */
#define FRAGMENT_NEXT(WORD) ((__u8)((WORD) >> 56))
#define FRAGMENT_OFFSET(WORD) ((__u16)((WORD) >> 32))
#define FRAGMENT_ID(WORD) ((__u32)(WORD))
#define PORT_FROM(WORD) ((__u16)((WORD) >> 48))
#define PORT_TO(WORD) ((__u16)((WORD) >> 32))
#define UDP_CHECKSUM(WORD) ((__u16)(WORD))
#define ICMP_TYPE(WORD) ((__u8)((WORD) >> 56))
#define ICMP_IDENTIFIER(WORD) ((__u16)((WORD) >> 16))
#define ICMP_TYPE_AND_CODE 0xffff000000000000ULL
#define ICMP_CODE 0x00ff000000000000ULL

/* Reads eight octets of a packet. */
INLINE int read64(struct __sk_buff *skb, __u32 at, __u64 *number)
{
	__be64 octets;
	if (load(skb, at, &octets, sizeof(octets)))
		return -1;
	*number = host64(octets);
	return 0;
}

/* Reads one. */
INLINE int read8(struct __sk_buff *skb, __u32 at, __u8 *number)
{
	__u8 octets[8] __attribute__((aligned(8)));
	if (load(skb, at, octets, 1))
		return -1;
	*number = octets[0];
	return 0;
}

/* Writes one. */
INLINE int write8(struct __sk_buff *skb, __u32 at, __u64 number, __u64 flags)
{
	return store(skb, at, &number, 1, flags);
}

INLINE struct settings *settings(void)
{
	__u64 only = 0;
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

/* Adds the Ethernet header that the stack strips before it looks for the neighbour; it stays empty. Without a next hop the kernel
 * looks at its routes. */
INLINE int by_uplink(struct __sk_buff *skb, struct settings *set)
{
	if (change_head(skb, ETH_HLEN, 0))
		return DROP;
	if (set->flags & LED)
		return redirect_neigh(set->uplink, &set->next_hop, sizeof(set->next_hop), 0);
	return redirect_neigh(set->uplink, 0, 0, 0);
}

INLINE struct flow flow_of(__u32 remote, __u8 protocol, __u64 upper, int out)
{
	__u64 own = 0, other = 0;
	if (protocol == IPPROTO_ICMP) {
		own = other = ICMP_IDENTIFIER(upper);
	} else if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == PROTO_SCTP) {
		own = out ? PORT_FROM(upper) : PORT_TO(upper);
		other = out ? PORT_TO(upper) : PORT_FROM(upper);
	}
	return (struct flow){ (__u64)remote << 32 | own << 16 | other, protocol };
}

INLINE void remember(__u32 remote, __u8 protocol, __u64 upper)
{
	struct flow flow = flow_of(remote, protocol, upper, 1);
	__u64 here = 1;
	if (!lookup(&FLOWS, &flow))
		update(&FLOWS, &flow, &here, BPF_ANY);
}

/* Adds octets as on the wire to a sum of RFC 1071, which takes a few thousand of them. */
INLINE __u64 with(__u64 sum, __be64 octets)
{
	return sum + (__u32)octets + (octets >> 32);
}

/* Takes octets out of such a sum again. */
INLINE __u64 without(__u64 sum, __be64 octets)
{
	return with(sum, ~octets);
}

/* Makes 32 bits of a sum, as the kernel has them. */
INLINE __u64 folded(__u64 sum)
{
	sum = (__u32)sum + (sum >> 32);
	return (__u32)sum + (sum >> 32);
}

/* Adds the octets of ICMPv6 that change, and what its checksum covers and ICMP's does not (RFC 8200, section 8.1). */
INLINE __u64 with_icmp6(__u64 sum, __u32 payload, __u64 upper)
{
	return with(with(sum, be64((__u64)payload << 32 | PROTO_ICMPV6)), be64(upper & ICMP_TYPE_AND_CODE));
}

INLINE __u64 without_icmp6(__u64 sum, __u32 payload, __u64 upper)
{
	return without(without(sum, be64((__u64)payload << 32 | PROTO_ICMPV6)), be64(upper & ICMP_TYPE_AND_CODE));
}

/* Whether an IPv4 packet fits the way as it is, without being cut (RFC 7915, section 4). */
INLINE int fits_outward(struct __sk_buff *skb, const struct settings *set, const struct iphdr *ip, __u32 fragment)
{
	__u32 extra = SIX - sizeof(*ip);
	__u32 total = host16(ip->tot_len);
	if (!skb->gso_size) {
		__u32 whole = (fragment & DF) || ip->protocol == IPPROTO_ICMP;
		if (fragment & (MF | OFFSET))
			extra += FRAGMENT;
		return total == skb->len && total + extra <= (whole ? set->mtu : LEAST_MTU);
	}
	__u8 words;
	if (ip->protocol != IPPROTO_TCP || (fragment & (DF | MF | OFFSET)) != DF || read8(skb, sizeof(*ip) + 12, &words))
		return 0;
	return total == skb->len && SIX + (words >> 4) * 4 + skb->gso_size <= set->mtu;
}

SEC("classifier/outward")
int clat_outward(struct __sk_buff *skb)
{
	struct settings *set = settings();
	/* IPv6 is on its way to user space. */
	if (!set || skb->protocol != be16(ETH_P_IP))
		return PASS;
	struct iphdr ip __attribute__((aligned(8)));
	__u64 upper = 0;
	if (load(skb, 0, &ip, sizeof(ip)))
		return PASS;
	__u32 remote = host32(ip.daddr);
	__u32 fragment = host16(ip.frag_off);
	__u32 offset = (fragment & OFFSET) * 8;
	__u32 piece = fragment & (MF | OFFSET);
	__u32 payload = host16(ip.tot_len) - sizeof(ip);
	__u8 protocol = ip.protocol;
	int place = checksum_place(protocol);
	if (ip.version != 4 || ip.ihl != 5 || ip.saddr != set->own4)
		return PASS;
	if (!offset && read64(skb, sizeof(ip), &upper))
		return PASS;
	/* Answers to what takes the slow way are expected as well. */
	if ((set->flags & SHARED) && !offset && (protocol != IPPROTO_ICMP || !(ICMP_TYPE(upper) & ~8)))
		remember(remote, protocol, upper);
	if (ip.daddr == set->own4 || !ip.ttl || place < 0 || protocol == PROTO_ICMPV6 || !is_unicast(remote) ||
	    ((set->flags & ONLY_GLOBAL) && !is_global(remote)) || !fits_outward(skb, set, &ip, fragment))
		return PASS;
	if (offset)
		place = 0;
	else if (payload < (protocol == IPPROTO_TCP ? 20 : 8))
		return PASS;
	if (((fragment & MF) && payload % 8) || offset + payload > 0xffff)
		return PASS;
	if (!offset && protocol == IPPROTO_UDP && !UDP_CHECKSUM(upper))
		return PASS;
	if (protocol == IPPROTO_ICMP && (piece || (ICMP_TYPE(upper) & ~8)))
		return PASS;

	/* A header and, where there is a piece, a fragment header. */
	__be64 out[6];
	__u32 size = SIX;
	__u8 next = protocol == IPPROTO_ICMP ? PROTO_ICMPV6 : protocol;
	__u64 first = 6ULL << 60 | (__u64)ip.tos << 52 | ip.ttl;
	out[5] = 0;
	if (piece) {
		size = SIX + FRAGMENT;
		out[5] = be64((__u64)next << 56 | (__u64)(offset | !!(fragment & MF)) << 32 | host16(ip.id));
		next = PROTO_FRAGMENT;
	}
	out[0] = be64(first | (__u64)(__u16)(payload + size - SIX) << 16 | (__u64)next << 8);
	out[1] = set->own6[0];
	out[2] = set->own6[1];
	embed(set, remote, out + 3);
	__u64 type = ICMP_TYPE(upper) ? 128 : 129;
	__u64 diff = with(with(with(with(0, set->own6[0]), set->own6[1]), out[3]), out[4]);
	if (protocol == IPPROTO_ICMP) {
		diff = without(diff, be64(upper & ICMP_TYPE_AND_CODE));
		diff = with_icmp6(diff, payload, type << 56 | (upper & ICMP_CODE));
	} else {
		diff = without(diff, (__u64)ip.saddr << 32 | ip.daddr);
	}

	if (change_proto(skb, be16(ETH_P_IPV6), 0))
		return DROP;
	if (piece && adjust_room(skb, FRAGMENT, BPF_ADJ_ROOM_NET, 0))
		return DROP;
	if (piece ? store(skb, 0, out, SIX + FRAGMENT, 0) : store(skb, 0, out, SIX, 0))
		return DROP;
	if (protocol == IPPROTO_ICMP && write8(skb, size, type, 0))
		return DROP;
	__u64 flags = BPF_F_PSEUDO_HDR | (protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
	if (place && l4_csum_replace(skb, size + place, 0, folded(diff), flags))
		return DROP;
	return by_uplink(skb, set);
}

/* Whether an ICMPv6 error is about a packet of a flow of the one behind (RFC 7915, section 5.3). */
INLINE int about_flow(struct __sk_buff *skb, const struct settings *set, __u32 at)
{
	/* With a fragment header behind it, if there is one. */
	__be64 quoted[6];
	__u64 upper;
	__u32 size = SIX;
	if (load(skb, at, quoted, sizeof(quoted)))
		return 0;
	__u8 next = SIX_NEXT(host64(quoted[0]));
	if (next == PROTO_FRAGMENT) {
		next = FRAGMENT_NEXT(host64(quoted[5]));
		size = SIX + FRAGMENT;
	}
	if (read64(skb, at + size, &upper))
		return 0;
	__u32 remote = extract(set, quoted + 3);
	struct flow flow = flow_of(remote, next == PROTO_ICMPV6 ? IPPROTO_ICMP : next, upper, 1);
	return remote && lookup(&FLOWS, &flow) != 0;
}

/* Whether a packet belongs to a flow of the one behind, or is a fragment of one that did. */
INLINE int of_flow(__u32 remote, __u8 protocol, __u64 upper, __u64 fragment)
{
	__u64 datagram = (__u64)remote << 32 | FRAGMENT_ID(fragment);
	__u64 here = 1;
	if (FRAGMENT_OFFSET(fragment) & 0xfff8)
		return lookup(&DATAGRAMS, &datagram) != 0;
	struct flow flow = flow_of(remote, protocol, upper, 0);
	if (!lookup(&FLOWS, &flow))
		return 0;
	if (FRAGMENT_OFFSET(fragment))
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
	/* The header; from the second on its addresses. */
	__be64 in[5];
	if (load(skb, ETH_HLEN, in, sizeof(in)))
		return PASS;
	if (in[3] != set->own6[0] || in[4] != set->own6[1])
		return PASS;

	__u32 shared = set->flags & SHARED;
	int foreign = shared ? PASS : DROP;
	__u64 first = host64(in[0]), upper = 0, fragment = 0;
	__u32 old_size = SIX;
	__u8 next = SIX_NEXT(first);
	if (next == PROTO_FRAGMENT) {
		if (read64(skb, ETH_HLEN + SIX, &fragment))
			return foreign;
		next = FRAGMENT_NEXT(fragment);
		old_size += FRAGMENT;
	}
	__u32 offset = FRAGMENT_OFFSET(fragment) & 0xfff8;
	__u32 piece = FRAGMENT_OFFSET(fragment) & 0xfff9;
	__u32 whole = SIX + SIX_LENGTH(first);
	__u32 payload = whole - old_size;
	if (whole < old_size)
		return foreign;
	if (!offset && payload >= sizeof(upper) && read64(skb, ETH_HLEN + old_size, &upper))
		return foreign;
	if (next == PROTO_ICMPV6 && !offset) {
		/* Neighbour discovery, of the address itself. */
		if (ICMP_TYPE(upper) >= 133 && ICMP_TYPE(upper) <= 137)
			return PASS;
		/* Errors come from any router. */
		if (ICMP_TYPE(upper) < 128)
			return shared && !about_flow(skb, set, ETH_HLEN + old_size + 8) ? PASS : to_user(set);
	}
	__u32 remote = extract(set, in + 1);
	if (!is_unicast(remote) || be32(remote) == set->own4 || ((set->flags & ONLY_GLOBAL) && !is_global(remote)))
		return foreign;
	__u8 protocol = next == PROTO_ICMPV6 ? IPPROTO_ICMP : next;
	if (shared && !of_flow(remote, protocol, upper, fragment))
		return PASS;

	int place = checksum_place(next);
	if (place < 0 || next == IPPROTO_ICMP || !SIX_HOPS(first) || whole != skb->len - ETH_HLEN || !payload ||
	    (skb->gso_size && (next != IPPROTO_TCP || SIX_NEXT(first) != next)) || payload > 0xffff - sizeof(struct iphdr) ||
	    ((piece & 1) && payload % 8) || offset + payload > 0xffff)
		return to_user(set);
	if (offset)
		place = 0;
	else if (payload < (next == IPPROTO_TCP ? 20 : 8))
		return to_user(set);
	if (next == PROTO_ICMPV6 && (piece || (ICMP_TYPE(upper) & ~1) != 128))
		return to_user(set);

	__u32 total = sizeof(struct iphdr) + payload;
	__u32 sent = total;
	if (skb->gso_size) {
		__u8 words = 0;
		if (read8(skb, ETH_HLEN + SIX + 12, &words))
			return DROP;
		sent = sizeof(struct iphdr) + (words >> 4) * 4 + skb->gso_size;
	}
	__u16 identification, way;
	if (SIX_NEXT(first) == PROTO_FRAGMENT) {
		identification = FRAGMENT_ID(fragment);
		way = offset >> 3 | (piece & 1 ? MF : 0);
	} else {
		identification = random32();
		way = sent > MAY_BE_FRAGMENTED ? DF : 0;
	}
	/* A header, and four octets that are not sent. */
	__be64 out[3];
	out[0] = be64(0x45ULL << 56 | (__u64)SIX_CLASS(first) << 48 | (__u64)(__u16)total << 32 | (__u64)identification << 16 | way);
	out[1] = be64((__u64)SIX_HOPS(first) << 56 | (__u64)protocol << 48 | remote);
	out[2] = set->own4;
	__u64 sum = folded(with(with(with(0, out[0]), out[1]), out[2]));
	sum = (__u16)sum + (sum >> 16);
	out[1] |= (__u64)(__u16)~((__u16)sum + (sum >> 16)) << 16;
	__u64 type = ICMP_TYPE(upper) == 128 ? 8 : 0;
	__u64 diff = without(without(without(without(0, in[1]), in[2]), in[3]), in[4]);
	if (next == PROTO_ICMPV6) {
		diff = without_icmp6(diff, payload, upper);
		diff = with(diff, be64(type << 56 | (upper & ICMP_CODE)));
	} else {
		diff = with(diff, (__u64)set->own4 << 32 | be32(remote));
	}

	if (change_proto(skb, be16(ETH_P_IP), 0))
		return DROP;
	if (SIX_NEXT(first) == PROTO_FRAGMENT && adjust_room(skb, -FRAGMENT, BPF_ADJ_ROOM_NET, 0))
		return DROP;
	/* A network card may have summed up the whole packet; that sum is kept right. */
	if (store(skb, ETH_HLEN, out, sizeof(struct iphdr), BPF_F_RECOMPUTE_CSUM))
		return DROP;
	__u32 at = ETH_HLEN + sizeof(struct iphdr);
	if (next == PROTO_ICMPV6 && write8(skb, at, type, BPF_F_RECOMPUTE_CSUM))
		return DROP;
	__u64 flags = BPF_F_PSEUDO_HDR | (next == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
	if (place && l4_csum_replace(skb, at + place, 0, folded(diff), flags))
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
