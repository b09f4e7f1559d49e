/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a BPF program needs of the kernel (linux/bpf.h): its helpers, and the sections a loader looks at. */
#pragma once

#include <linux/bpf.h>

#define SEC(NAME) __attribute__((section(NAME), used))
#define INLINE static __attribute__((always_inline)) inline

#define be16(VALUE) ((__be16)__builtin_bswap16(VALUE))
#define be32(VALUE) ((__be32)__builtin_bswap32(VALUE))
#define be64(VALUE) ((__be64)__builtin_bswap64(VALUE))
#define host16(VALUE) __builtin_bswap16(VALUE)
#define host32(VALUE) __builtin_bswap32(VALUE)
#define host64(VALUE) __builtin_bswap64(VALUE)

/* A map in the section "maps", which needs no BTF. */
struct map {
	__u32 type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 map_flags;
};

#define lookup ((void *(*)(void *, const void *))BPF_FUNC_map_lookup_elem)
#define update ((long (*)(void *, const void *, const void *, __u64))BPF_FUNC_map_update_elem)
#define load ((long (*)(const void *, __u32, void *, __u32))BPF_FUNC_skb_load_bytes)
#define store ((long (*)(struct __sk_buff *, __u32, const void *, __u32, __u64))BPF_FUNC_skb_store_bytes)
#define change_proto ((long (*)(struct __sk_buff *, __be16, __u64))BPF_FUNC_skb_change_proto)
#define change_head ((long (*)(struct __sk_buff *, __u32, __u64))BPF_FUNC_skb_change_head)
#define adjust_room ((long (*)(struct __sk_buff *, __s32, __u32, __u64))BPF_FUNC_skb_adjust_room)
#define csum_diff ((__s64 (*)(const void *, __u32, const void *, __u32, __wsum))BPF_FUNC_csum_diff)
#define l4_csum_replace ((long (*)(struct __sk_buff *, __u32, __u64, __u64, __u64))BPF_FUNC_l4_csum_replace)
#define redirect ((long (*)(__u32, __u64))BPF_FUNC_redirect)
#define redirect_neigh ((long (*)(__u32, void *, int, __u64))BPF_FUNC_redirect_neigh)
#define random32 ((__u32 (*)(void))BPF_FUNC_get_prandom_u32)
