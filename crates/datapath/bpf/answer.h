/* Packets that the programs answer themselves: ARP, neighbour discovery, echo to a balanced address, and refusals.
 * Each turns the packet around in place and sends it back out of the interface it came in by. */
#pragma once
#include "packet.h"

#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

/* Every neighbour on an overlay has this address as far as a container can see; the road sets the real one. */
#define ROAD_MAC { 0x02, 0x42, 0x73, 0x68, 0x6f, 0x61 }

static __always_inline int drop(struct __sk_buff *skb, struct packet *p, __u32 reason)
{
	count(reason);
	tell(skb, p ? &p->key : 0, 0, reason);
	return TC_ACT_SHOT;
}

static __always_inline int turn_around(struct __sk_buff *skb)
{
	__u8 mac[12], back[12];
	if (bpf_skb_load_bytes(skb, 0, mac, 12))
		return TC_ACT_SHOT;
	__builtin_memcpy(back, mac + 6, 6);
	__builtin_memcpy(back + 6, mac, 6);
	bpf_skb_store_bytes(skb, 0, back, 12, 0);
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline __u16 fold(__u64 sum)
{
	__u32 s = (__u32)sum;
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return s;
}

/* Whether someone other than the asking interface itself has this address. */
static __always_inline int is_known(struct __sk_buff *skb, struct place *at)
{
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, at);
	if (e)
		return !(e->kind == ENDPOINT_LOCAL && e->ifindex == skb->ifindex);
	return bpf_map_lookup_elem(&services, at) != 0;
}

struct arp {
	__be16 hw, proto;
	__u8 hlen, plen;
	__be16 op;
	__u8 sha[6];
	__u8 spa[4];
	__u8 tha[6];
	__u8 tpa[4];
} __attribute__((packed));

static __noinline int answer_arp(struct __sk_buff *skb, __u32 vni)
{
	struct arp a;
	__u8 road[6] = ROAD_MAC;
	if (bpf_skb_load_bytes(skb, L3, &a, sizeof(a)))
		return drop(skb, 0, COUNT_DROP_MALFORMED);
	if (a.op != bpf_htons(ARPOP_REQUEST) || a.proto != bpf_htons(ETH_P_IP) || a.plen != 4 || a.hlen != 6)
		return drop(skb, 0, COUNT_DROP_NOT_CARRIED);
	struct place at = { .vni = vni };
	__be32 target;
	__builtin_memcpy(&target, a.tpa, 4);
	mapped(&at.addr, target);
	if (!is_known(skb, &at))
		return drop(skb, 0, COUNT_DROP_UNKNOWN_DESTINATION);
	struct arp r = { .hw = a.hw, .proto = a.proto, .hlen = 6, .plen = 4, .op = bpf_htons(ARPOP_REPLY) };
	__builtin_memcpy(r.sha, road, 6);
	__builtin_memcpy(r.spa, a.tpa, 4);
	__builtin_memcpy(r.tha, a.sha, 6);
	__builtin_memcpy(r.tpa, a.spa, 4);
	__u8 mac[12];
	__builtin_memcpy(mac, a.sha, 6);
	__builtin_memcpy(mac + 6, road, 6);
	bpf_skb_store_bytes(skb, L3, &r, sizeof(r), 0);
	bpf_skb_store_bytes(skb, 0, mac, 12, 0);
	return bpf_redirect(skb->ifindex, 0);
}

struct neighbour {
	struct icmp6hdr icmp;
	struct addr target;
	__u8 option, units, mac[6];
};

/* Neighbour solicitation → advertisement. */
static __noinline int answer_neighbour(struct __sk_buff *skb, struct packet *p)
{
	struct neighbour n;
	__u8 road[6] = ROAD_MAC;
	__builtin_memset(&n, 0, sizeof(n));
	if (bpf_skb_load_bytes(skb, p->l4, &n, 24))
		return drop(skb, p, COUNT_DROP_MALFORMED);
	struct place at = { .addr = n.target, .vni = p->key.scope };
	/* An unspecified source is duplicate detection: silence means that the address is free. */
	if (!(p->key.src.w[0] | p->key.src.w[1] | p->key.src.w[2] | p->key.src.w[3]) || !is_known(skb, &at))
		return drop(skb, p, COUNT_DROP_UNKNOWN_DESTINATION);
	if (bpf_skb_change_tail(skb, L3 + 40 + sizeof(n), 0))
		return drop(skb, p, COUNT_DROP_INTERNAL);
	__builtin_memset(&n.icmp, 0, sizeof(n.icmp));
	n.icmp.icmp6_type = 136;
	n.icmp.icmp6_dataun.un_data32[0] = bpf_htonl(0x60000000); /* solicited, override */
	n.option = 2;
	n.units = 1;
	__builtin_memcpy(n.mac, road, 6);
	struct {
		struct ipv6hdr ip;
		struct neighbour n;
	} out;
	__builtin_memset(&out.ip, 0, sizeof(out.ip));
	out.ip.version = 6;
	out.ip.payload_len = bpf_htons(sizeof(n));
	out.ip.nexthdr = IPPROTO_ICMPV6;
	out.ip.hop_limit = 255;
	__builtin_memcpy(&out.ip.saddr, &n.target, 16);
	__builtin_memcpy(&out.ip.daddr, &p->key.src, 16);
	__be32 tail[2] = { bpf_htonl(sizeof(n)), bpf_htonl(IPPROTO_ICMPV6) };
	__s64 sum = bpf_csum_diff(0, 0, (__be32 *)&out.ip.saddr, 32, 0);
	sum = bpf_csum_diff(0, 0, tail, 8, sum);
	sum = bpf_csum_diff(0, 0, (__be32 *)&n, sizeof(n), sum);
	n.icmp.icmp6_cksum = ~fold(sum);
	out.n = n;
	bpf_skb_store_bytes(skb, L3, &out, sizeof(out), 0);
	__u8 mac[12];
	if (bpf_skb_load_bytes(skb, 6, mac, 6))
		return TC_ACT_SHOT;
	__builtin_memcpy(mac + 6, road, 6);
	bpf_skb_store_bytes(skb, 0, mac, 12, 0);
	return bpf_redirect(skb->ifindex, 0);
}

/* Echo request to an address that is ours to answer for. */
static __noinline int answer_echo(struct __sk_buff *skb, struct packet *p)
{
	__u8 type = p->v6 ? 129 : 0;
	__be16 old = bpf_htons((__u16)p->tcp_flags << 8), new = bpf_htons((__u16)type << 8);
	if (p->v6) {
		struct addr both[2] = { p->key.dst, p->key.src };
		bpf_skb_store_bytes(skb, L3 + offsetof(struct ipv6hdr, saddr), both, 32, 0);
	} else {
		__be32 both[2] = { p->key.dst.w[3], p->key.src.w[3] };
		bpf_skb_store_bytes(skb, L3 + offsetof(struct iphdr, saddr), both, 8, 0);
	}
	bpf_l4_csum_replace(skb, p->l4 + 2, old, new, 2);
	bpf_skb_store_bytes(skb, p->l4, &type, 1, 0);
	return turn_around(skb);
}

static __always_inline int is_echo_request(struct packet *p)
{
	return (p->key.proto == IPPROTO_ICMP && p->tcp_flags == 8) ||
	       (p->key.proto == IPPROTO_ICMPV6 && p->tcp_flags == 128);
}

/* Writes a fresh IP header from the packet's destination to its source. */
static __always_inline void write_ip(struct __sk_buff *skb, struct packet *p, __u8 proto, __u16 payload)
{
	if (p->v6) {
		struct ipv6hdr ip;
		__builtin_memset(&ip, 0, sizeof(ip));
		ip.version = 6;
		ip.payload_len = bpf_htons(payload);
		ip.nexthdr = proto;
		ip.hop_limit = 64;
		__builtin_memcpy(&ip.saddr, &p->key.dst, 16);
		__builtin_memcpy(&ip.daddr, &p->key.src, 16);
		bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0);
	} else {
		struct iphdr ip;
		__builtin_memset(&ip, 0, sizeof(ip));
		ip.version = 4;
		ip.ihl = 5;
		ip.tot_len = bpf_htons(20 + payload);
		ip.frag_off = bpf_htons(0x4000);
		ip.ttl = 64;
		ip.protocol = proto;
		ip.saddr = p->key.dst.w[3];
		ip.daddr = p->key.src.w[3];
		ip.check = ~fold(bpf_csum_diff(0, 0, (__be32 *)&ip, sizeof(ip), 0));
		bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0);
	}
}

/* Sum over the pseudo-header from destination to source (the order does not matter). */
static __always_inline __s64 pseudo_sum(struct packet *p, __u8 proto, __u16 length)
{
	__be32 tail[2] = { bpf_htonl(length), bpf_htonl(proto) };
	__s64 sum = p->v6 ? bpf_csum_diff(0, 0, p->key.src.w, 32, 0)
			  : bpf_csum_diff(0, 0, &p->key.src.w[3], 4, 0);
	if (!p->v6)
		sum = bpf_csum_diff(0, 0, &p->key.dst.w[3], 4, sum);
	return bpf_csum_diff(0, 0, tail, 8, sum);
}

/* Whether the stack or a device is still to complete the checksum: then a change of the payload leaves the field alone. */
static __always_inline int checksum_is_partial(struct __sk_buff *skb, int at)
{
	__u16 before = 0, after = 0;
	bpf_skb_load_bytes(skb, at, &before, 2);
	bpf_l4_csum_replace(skb, at, 0, bpf_htons(1), 2);
	bpf_skb_load_bytes(skb, at, &after, 2);
	return before == after;
}

/* TCP: a reset that the sender will believe. */
static __noinline int answer_reset(struct __sk_buff *skb, struct packet *p)
{
	struct tcphdr in, out;
	__u32 l4 = p->v6 ? L3 + 40 : L3 + 20, length;
	if (p->l4 != l4 || p->frag || bpf_skb_load_bytes(skb, l4, &in, sizeof(in)))
		return TC_ACT_SHOT;
	if (in.rst)
		return TC_ACT_SHOT;
	__be16 total = 0;
	if (bpf_skb_load_bytes(skb, p->v6 ? L3 + 4 : L3 + 2, &total, 2))
		return TC_ACT_SHOT;
	length = bpf_ntohs(total) - (p->v6 ? 0 : 20) - in.doff * 4;
	int partial = checksum_is_partial(skb, l4 + offsetof(struct tcphdr, check));
	__builtin_memset(&out, 0, sizeof(out));
	out.source = in.dest;
	out.dest = in.source;
	out.doff = 5;
	out.rst = 1;
	if (in.ack) {
		out.seq = in.ack_seq;
	} else {
		out.ack = 1;
		out.ack_seq = bpf_htonl(bpf_ntohl(in.seq) + length + in.syn + in.fin);
	}
	__s64 sum = pseudo_sum(p, IPPROTO_TCP, sizeof(out));
	if (partial)
		out.check = fold(sum);
	else
		out.check = ~fold(bpf_csum_diff(0, 0, (__be32 *)&out, sizeof(out), sum));
	if (bpf_skb_change_tail(skb, l4 + sizeof(out), 0))
		return TC_ACT_SHOT;
	write_ip(skb, p, IPPROTO_TCP, sizeof(out));
	bpf_skb_store_bytes(skb, l4, &out, sizeof(out), 0);
	return turn_around(skb);
}

/* UDP: port unreachable, with the head of the packet that it answers. */
static __noinline int answer_unreachable(struct __sk_buff *skb, struct packet *p)
{
	struct {
		__u8 type, code;
		__be16 check;
		__be32 unused;
		__u8 quoted[48];
	} out;
	__u32 ip = p->v6 ? 40 : 20, quoted = ip + 8, l4 = L3 + ip;
	if (p->l4 != l4 || p->frag)
		return TC_ACT_SHOT;
	__builtin_memset(&out, 0, sizeof(out));
	__s64 sum = 0;
	if (p->v6) {
		if (bpf_skb_load_bytes(skb, L3, out.quoted, 48))
			return TC_ACT_SHOT;
		out.type = 1;
		out.code = 4;
		sum = pseudo_sum(p, IPPROTO_ICMPV6, 8 + 48);
		out.check = ~fold(bpf_csum_diff(0, 0, (__be32 *)&out, 56, sum));
	} else {
		if (bpf_skb_load_bytes(skb, L3, out.quoted, 28))
			return TC_ACT_SHOT;
		out.type = 3;
		out.code = 3;
		out.check = ~fold(bpf_csum_diff(0, 0, (__be32 *)&out, 36, 0));
	}
	if (bpf_skb_change_tail(skb, l4 + 8 + quoted, 0))
		return TC_ACT_SHOT;
	write_ip(skb, p, p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 8 + quoted);
	if (p->v6)
		bpf_skb_store_bytes(skb, l4, &out, 56, 0);
	else
		bpf_skb_store_bytes(skb, l4, &out, 36, 0);
	return turn_around(skb);
}

/* Says no at once instead of leaving the sender waiting. */
static __always_inline int refuse(struct __sk_buff *skb, struct packet *p, __u32 reason)
{
	count(reason);
	tell(skb, &p->key, 0, reason);
	if (p->key.proto == IPPROTO_TCP)
		return answer_reset(skb, p);
	if (p->key.proto == IPPROTO_UDP)
		return answer_unreachable(skb, p);
	return TC_ACT_SHOT;
}
