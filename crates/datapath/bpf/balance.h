/* Choosing a backend, and opening the flow to it. */
#pragma once
#include "flow.h"

static __always_inline __u32 mix(__u32 h)
{
	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	return h ^ (h >> 16);
}

static __always_inline struct backend *row(struct service *svc, __u32 index)
{
	struct backend_key k = { .set = svc->set, .index = index };
	return bpf_map_lookup_elem(&backends, &k);
}

/* Whether the backends of a service have addresses of this family; all have the same. */
static __always_inline int speaks(struct service *svc, int v6)
{
	struct backend *b = row(svc, 0);
	int is_v4 = b && !b->addr.w[0] && !b->addr.w[1] && b->addr.w[2] == MAPPED;
	return b && is_v4 != !!v6;
}

static __always_inline __s32 load_of(struct backend *b)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &b->slot);
	return s ? s->live : 0x7fffffff;
}

static __always_inline struct backend *choose(struct service *svc, struct packet *p)
{
	__u32 n = svc->nearby ? svc->nearby : svc->ready;
	struct backend *a, *b;
	if (!n)
		return 0;
	switch (svc->policy) {
	case POLICY_ROUND_ROBIN:
		/* Two CPUs may take the same turn; that costs evenness, not correctness. */
		return row(svc, svc->cursor++ % n);
	case POLICY_LEAST_CONNECTIONS:
		a = row(svc, bpf_get_prandom_u32() % n);
		b = row(svc, bpf_get_prandom_u32() % n);
		if (!a || !b)
			return a;
		return load_of(b) < load_of(a) ? b : a;
	case POLICY_SOURCE:
		return row(svc, mix(p->key.src.w[0] ^ p->key.src.w[1] ^ mix(p->key.src.w[2]) ^ p->key.src.w[3]) % n);
	default:
		return row(svc, bpf_get_prandom_u32() % n);
	}
}

/* Opens a flow to a backend of `svc`; the forward entry is then in the scratch. `reply_road` and `via` say how answers
 * go back. 0, or the reason of failure. */
static __always_inline int balance(struct __sk_buff *skb, struct packet *p, struct service *svc, struct scratch *s,
				   __u32 vni, __u8 reply_road, __u32 via)
{
	struct backend *b = choose(svc, p);
	if (!b)
		return COUNT_DROP_INTERNAL;
	struct flow *f = &s->forward, *r = &s->reply;
	__builtin_memset(f, 0, sizeof(*f));
	__builtin_memset(r, 0, sizeof(*r));
	f->to.src = p->key.src;
	f->to.dst = b->addr;
	f->to.sport = p->key.sport;
	f->to.dport = svc->target_port ? svc->target_port : p->key.dport;
	/* A container that reaches itself must not see its own address as the source. */
	if (same(&b->addr, &p->key.src))
		f->to.src = p->key.dst;
	f->vni = vni;
	f->slot = b->slot;
	f->generation = b->generation;
	f->road = ROAD_ENDPOINT;
	r->road = reply_road;
	r->via = via;
	if (open_flow(skb, p, s))
		return COUNT_DROP_TABLE_FULL;
	return 0;
}

/* A packet for a balanced address (in a network, or a published port) that belongs to no flow. */
static __noinline int new_flow(struct __sk_buff *skb, struct packet *p, struct service *svc, __u32 vni)
{
	struct scratch *s = scratch();
	int outside = p->key.side == SIDE_OUTSIDE;
	if (!s)
		return TC_ACT_SHOT;
	if (p->key.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
		return refuse(skb, p, COUNT_REFUSED_NO_FLOW);
	if (!svc->ready)
		return refuse(skb, p, COUNT_REFUSED_NO_BACKEND);
	int why = balance(skb, p, svc, s, vni, outside ? ROAD_UPLINK : ROAD_ENDPOINT, outside ? skb->ifindex : 0);
	if (why)
		return drop(skb, p, why);
	if (outside && p->key.proto == IPPROTO_TCP)
		clamp_segment_size(skb, p);
	if (rewrite(skb, p, &s->forward.to))
		return drop(skb, p, COUNT_DROP_INTERNAL);
	struct place at = { .addr = s->forward.to.dst, .vni = vni };
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &at);
	if (!e)
		return drop(skb, p, COUNT_DROP_UNKNOWN_DESTINATION);
	if (e->kind == ENDPOINT_LOCAL)
		return deliver(skb, e);
	if (e->kind == ENDPOINT_SEALED)
		return tunnel_sealed(skb, e->node, vni);
	return tunnel(skb, e->node, outside ? MESH_VNI : vni);
}
