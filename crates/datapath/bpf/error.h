/* ICMP errors about packets of a flow. The packet that they quote is one that this flow's other side has got, or would
 * have; it is turned back into what its sender wrote, and the error goes the way of the answers. Without this a sender
 * behind a virtual address never learns that a port is closed, or that its packets are too large for a link. */
#pragma once
#include "balance.h"

static __always_inline int is_error(struct packet *p)
{
	__u8 type = p->tcp_flags;
	if (p->frag)
		return 0;
	if (p->v6)
		return p->key.proto == IPPROTO_ICMPV6 && type >= 1 && type <= 4;
	return p->key.proto == IPPROTO_ICMP && (type == 3 || type == 11 || type == 12);
}

/* Reads the quoted packet's addresses and ports, and where its ports are; its protocol, or 0. */
static __always_inline __u8 read_quoted(struct __sk_buff *skb, struct packet *p, struct tuple *t, __u32 *ports)
{
	__u32 at = p->l4 + 8;
	__u8 proto;
	if (p->v6) {
		struct ipv6hdr ip;
		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
			return 0;
		__builtin_memcpy(&t->src, &ip.saddr, 16);
		__builtin_memcpy(&t->dst, &ip.daddr, 16);
		proto = ip.nexthdr;
		*ports = at + sizeof(ip);
	} else {
		struct iphdr ip;
		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.ihl < 5 || (ip.frag_off & bpf_htons(0x1fff)))
			return 0;
		mapped(&t->src, ip.saddr);
		mapped(&t->dst, ip.daddr);
		proto = ip.protocol;
		*ports = at + ip.ihl * 4;
	}
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return 0;
	return bpf_skb_load_bytes(skb, *ports, &t->sport, 4) ? 0 : proto;
}

/* Makes the quoted packet be one with `now`, where it was one with `was`. */
static __always_inline int rewrite_quoted(struct __sk_buff *skb, struct packet *p, __u32 ports, struct tuple *was,
					  struct tuple *now)
{
	__u32 at = p->l4 + 8, sum = p->l4 + 2;
	if (p->v6) {
		__s64 diff = bpf_csum_diff(was->src.w, 32, now->src.w, 32, 0);
		if (bpf_l4_csum_replace(skb, sum, 0, diff, 0) ||
		    bpf_skb_store_bytes(skb, at + offsetof(struct ipv6hdr, saddr), now->src.w, 32, 0))
			return -1;
	} else {
		/* The quoted header's own checksum makes up for its addresses: the sum over both stays. */
		__be32 old[2] = { was->src.w[3], was->dst.w[3] };
		__be32 new[2] = { now->src.w[3], now->dst.w[3] };
		__s64 diff = bpf_csum_diff(old, 8, new, 8, 0);
		if (bpf_l3_csum_replace(skb, at + offsetof(struct iphdr, check), 0, diff, 0) ||
		    bpf_skb_store_bytes(skb, at + offsetof(struct iphdr, saddr), new, 8, 0))
			return -1;
	}
	__be16 old[2] = { was->sport, was->dport };
	__be16 new[2] = { now->sport, now->dport };
	__s64 diff = bpf_csum_diff((__be32 *)old, 4, (__be32 *)new, 4, 0);
	if (bpf_l4_csum_replace(skb, sum, 0, diff, 0))
		return -1;
	return bpf_skb_store_bytes(skb, ports, new, 4, 0);
}

/* Gives the error itself the addresses of `to`. */
static __always_inline int rewrite_outer(struct __sk_buff *skb, struct packet *p, struct tuple *to)
{
	if (p->v6) {
		__s64 diff = bpf_csum_diff(p->key.src.w, 32, to->src.w, 32, 0);
		if (bpf_l4_csum_replace(skb, p->l4 + 2, 0, diff, BPF_F_PSEUDO_HDR | ipv6_checksum_flag))
			return -1;
		return bpf_skb_store_bytes(skb, L3 + offsetof(struct ipv6hdr, saddr), to->src.w, 32, 0);
	}
	__be32 old[2] = { p->key.src.w[3], p->key.dst.w[3] };
	__be32 new[2] = { to->src.w[3], to->dst.w[3] };
	__s64 diff = bpf_csum_diff(old, 8, new, 8, 0);
	if (bpf_l3_csum_replace(skb, L3 + offsetof(struct iphdr, check), 0, diff, 0))
		return -1;
	return bpf_skb_store_bytes(skb, L3 + offsetof(struct iphdr, saddr), new, 8, 0);
}

/* AGAIN if it is about none of our flows: then it is a packet like any other. */
static __noinline int translate_error(struct __sk_buff *skb, struct packet *p, int transit)
{
	struct scratch *s = scratch();
	__u32 ports = 0;
	if (!s)
		return AGAIN;
	struct tuple *was = &s->quoted, *now = &s->forward.to, *outer = &s->reply.to;
	__u8 proto = read_quoted(skb, p, was, &ports);
	if (!proto)
		return AGAIN;
	reversed(&s->other_key, was, proto, p->key.scope, p->key.side);
	struct flow *f = bpf_map_lookup_elem(&flows, &s->other_key);
	if (!f || f->road == ROAD_TRACK)
		return AGAIN;
	now->src = f->to.dst;
	now->dst = f->to.src;
	now->sport = f->to.dport;
	now->dport = f->to.sport;
	/* A router in between speaks for itself. */
	outer->src = same(&p->key.src, &was->dst) ? f->to.src : p->key.src;
	outer->dst = f->to.dst;
	if (rewrite_quoted(skb, p, ports, was, now) || rewrite_outer(skb, p, outer))
		return drop(skb, p, COUNT_DROP_INTERNAL);
	count(COUNT_ERRORS_TRANSLATED);
	if (f->road == ROAD_ENDPOINT)
		return to_endpoint(skb, p, &outer->dst, f->vni, transit);
	if (f->road == ROAD_UPLINK)
		return bpf_redirect_neigh(f->via, 0, 0, 0);
	return tunnel(skb, f->via, f->vni);
}
