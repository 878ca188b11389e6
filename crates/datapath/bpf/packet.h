/* Reading and rewriting packets. Programs never write to packet memory directly: the helpers copy a shared header only
 * when they must, and keep checksums right whatever offload state the packet is in. */
#pragma once
#include <linux/if_ether.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <stddef.h>
#include "maps.h"

#define L3 ETH_HLEN
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define MAPPED bpf_htonl(0xffff)

/* For bpf_l4_csum_replace on IPv6, where the kernel knows it (BPF_F_IPV6, Linux 6.16); set by the loader. */
volatile const __u64 ipv6_checksum_flag = 0;

enum frag { WHOLE = 0, FRAG_FIRST = 1, FRAG_LATER = 2 };

struct packet {
	struct flow_key key;
	__u16 l4;
	__u8 v6;
	__u8 tcp_flags; /* or the ICMP type */
	__u8 frag;
	__u8 has_ports;
	__u8 sealed; /* came encrypted from another node; set by the caller of parse() */
	__u8 pad;
};

enum parsed { PARSED_IP, PARSED_ARP, PARSED_OTHER, PARSED_MALFORMED, PARSED_LOST_FRAGMENT };

static __always_inline int same(const struct addr *a, const struct addr *b)
{
	return a->w[3] == b->w[3] && a->w[2] == b->w[2] && a->w[1] == b->w[1] && a->w[0] == b->w[0];
}

static __always_inline void mapped(struct addr *a, __be32 v4)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = MAPPED;
	a->w[3] = v4;
}

/* Ports of a later fragment are those of the first one, which is remembered here. */
static __noinline int fragment_ports(struct packet *p, __u32 id)
{
	struct fragment_key k = {
		.src = p->key.src, .dst = p->key.dst, .id = id, .scope = p->key.scope,
		.proto = p->key.proto, .side = p->key.side,
	};
	if (p->frag == FRAG_FIRST) {
		struct ports v = { p->key.sport, p->key.dport };
		bpf_map_update_elem(&fragments, &k, &v, BPF_ANY);
		return 1;
	}
	struct ports *v = bpf_map_lookup_elem(&fragments, &k);
	if (!v)
		return 0;
	p->key.sport = v->sport;
	p->key.dport = v->dport;
	return 1;
}

/* Fills everything of `p`; scope and side are the caller's view of where the packet is. */
static __always_inline int parse(struct __sk_buff *skb, struct packet *p, __u32 scope, __u8 side)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 id = 0;
	__builtin_memset(p, 0, sizeof(*p));
	p->key.scope = scope;
	p->key.side = side;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (data + L3 + sizeof(struct iphdr) > end) {
			if (bpf_skb_pull_data(skb, L3 + sizeof(struct iphdr)))
				return PARSED_MALFORMED;
			data = (void *)(long)skb->data;
			end = (void *)(long)skb->data_end;
			if (data + L3 + sizeof(struct iphdr) > end)
				return PARSED_MALFORMED;
		}
		struct iphdr *ip = data + L3;
		if (ip->ihl < 5)
			return PARSED_MALFORMED;
		mapped(&p->key.src, ip->saddr);
		mapped(&p->key.dst, ip->daddr);
		p->key.proto = ip->protocol;
		p->l4 = L3 + ip->ihl * 4;
		__u16 off = bpf_ntohs(ip->frag_off);
		if (off & 0x3fff) {
			p->frag = (off & 0x1fff) ? FRAG_LATER : FRAG_FIRST;
			id = ip->id;
		}
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (data + L3 + sizeof(struct ipv6hdr) > end) {
			if (bpf_skb_pull_data(skb, L3 + sizeof(struct ipv6hdr)))
				return PARSED_MALFORMED;
			data = (void *)(long)skb->data;
			end = (void *)(long)skb->data_end;
			if (data + L3 + sizeof(struct ipv6hdr) > end)
				return PARSED_MALFORMED;
		}
		struct ipv6hdr *ip = data + L3;
		__builtin_memcpy(&p->key.src, &ip->saddr, 16);
		__builtin_memcpy(&p->key.dst, &ip->daddr, 16);
		p->v6 = 1;
		p->key.proto = ip->nexthdr;
		p->l4 = L3 + sizeof(struct ipv6hdr);
		if (ip->nexthdr == 44) {
			struct {
				__u8 next, reserved;
				__be16 offset;
				__be32 id;
			} frag;
			if (bpf_skb_load_bytes(skb, p->l4, &frag, sizeof(frag)))
				return PARSED_MALFORMED;
			p->l4 += sizeof(frag);
			p->key.proto = frag.next;
			p->frag = (frag.offset & bpf_htons(0xfff8)) ? FRAG_LATER : FRAG_FIRST;
			id = frag.id;
		}
	} else if (skb->protocol == bpf_htons(ETH_P_ARP)) {
		return PARSED_ARP;
	} else {
		return PARSED_OTHER;
	}
	__u8 proto = p->key.proto;
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP) {
		p->has_ports = 1;
		if (p->frag == FRAG_LATER)
			return fragment_ports(p, id) ? PARSED_IP : PARSED_LOST_FRAGMENT;
		/* The header is nearly always in the linear part, where reading costs no call. */
		__u32 at = p->l4;
		if (at <= L3 + 60 && data + at + 14 <= end) {
			__be16 *head = data + at;
			p->key.sport = head[0];
			p->key.dport = head[1];
			if (proto == IPPROTO_TCP)
				p->tcp_flags = *((__u8 *)data + at + 13);
		} else {
			__u8 head[14] __attribute__((aligned(4))) = {};
			if (bpf_skb_load_bytes(skb, at, head, proto == IPPROTO_TCP ? 14 : 8))
				return PARSED_MALFORMED;
			if (proto == IPPROTO_TCP)
				p->tcp_flags = head[13];
			p->key.sport = *(__be16 *)&head[0];
			p->key.dport = *(__be16 *)&head[2];
		}
		if (p->frag == FRAG_FIRST)
			fragment_ports(p, id);
	} else if ((proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) && p->frag != FRAG_LATER) {
		if (bpf_skb_load_bytes(skb, p->l4, &p->tcp_flags, 1))
			return PARSED_MALFORMED;
	}
	return PARSED_IP;
}

static __always_inline int checksum_at(struct packet *p)
{
	return p->l4 + (p->key.proto == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check));
}

/* Gives the packet the addresses and ports of `to`. */
static __always_inline int rewrite(struct __sk_buff *skb, struct packet *p, struct tuple *to)
{
	__u64 udp = p->key.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	int sum = checksum_at(p);
	if (!same(&p->key.src, &to->src) || !same(&p->key.dst, &to->dst)) {
		if (p->v6) {
			__s64 diff = bpf_csum_diff(p->key.src.w, 32, to->src.w, 32, 0);
			if (p->frag != FRAG_LATER &&
			    bpf_l4_csum_replace(skb, sum, 0, diff, udp | BPF_F_PSEUDO_HDR | ipv6_checksum_flag))
				return -1;
			if (bpf_skb_store_bytes(skb, L3 + offsetof(struct ipv6hdr, saddr), to->src.w, 32, 0))
				return -1;
		} else {
			__be32 old[2] = { p->key.src.w[3], p->key.dst.w[3] };
			__be32 new[2] = { to->src.w[3], to->dst.w[3] };
			__s64 diff = bpf_csum_diff(old, 8, new, 8, 0);
			if (p->frag != FRAG_LATER && bpf_l4_csum_replace(skb, sum, 0, diff, udp | BPF_F_PSEUDO_HDR))
				return -1;
			if (bpf_l3_csum_replace(skb, L3 + offsetof(struct iphdr, check), 0, diff, 0))
				return -1;
			if (bpf_skb_store_bytes(skb, L3 + offsetof(struct iphdr, saddr), new, 8, 0))
				return -1;
		}
	}
	if (p->frag != FRAG_LATER && (p->key.sport != to->sport || p->key.dport != to->dport)) {
		__be16 old[2] = { p->key.sport, p->key.dport };
		__be16 new[2] = { to->sport, to->dport };
		__s64 diff = bpf_csum_diff((__be32 *)old, 4, (__be32 *)new, 4, 0);
		if (bpf_l4_csum_replace(skb, sum, 0, diff, udp))
			return -1;
		if (bpf_skb_store_bytes(skb, p->l4, new, 4, 0))
			return -1;
	}
	return 0;
}

/* The mesh may meet paths of 1500 bytes on both ends and the tunnel in between: segments must fit the tunnel. */
static __noinline int clamp_segment_size(struct __sk_buff *skb, struct packet *p)
{
	struct config *c = config();
	__u8 option[4] __attribute__((aligned(4)));
	if (!c || c->mtu < 576 || bpf_skb_load_bytes(skb, p->l4 + 20, option, 4))
		return 0;
	if (option[0] != 2 || option[1] != 4)
		return 0;
	__be16 old = *(__be16 *)&option[2];
	__u16 most = c->mtu - (p->v6 ? 60 : 40);
	if (bpf_ntohs(old) <= most)
		return 0;
	__be16 new = bpf_htons(most);
	bpf_l4_csum_replace(skb, checksum_at(p), old, new, 2);
	bpf_skb_store_bytes(skb, p->l4 + 22, &new, 2, 0);
	return 0;
}
