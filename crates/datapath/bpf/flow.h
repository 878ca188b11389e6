/* The flow table: how an established flow is followed, and how a new one is opened.
 *
 * A flow is two entries. The forward one turns a packet as its sender wrote it into the packet that the backend gets;
 * the reply one is keyed by the backend's answer and turns it into what the sender expects. Each entry holds the whole
 * tuple that a packet shall have afterwards, so that translation, hairpin and moved ports are one operation. */
#pragma once
#include "answer.h"

#define SECOND 1000000000ULL
#define UDP_IDLE (180 * SECOND)
#define CLOSED_IDLE (60 * SECOND)
#define AGAIN (-100)

/* What every kernel that we run on takes: later ones only add to its end. */
#define TUNNEL_KEY_SIZE (offsetof(struct bpf_tunnel_key, tunnel_label) + sizeof(__u32))

static __always_inline int deliver(struct __sk_buff *skb, struct endpoint *e)
{
	if (skb->pkt_type != 0)
		bpf_skb_change_type(skb, 0);
	if (bpf_skb_store_bytes(skb, 0, e->mac, 6, 0))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(e->ifindex, 0);
}

static __always_inline int tunnel(struct __sk_buff *skb, __be32 node, __u32 vni)
{
	struct config *c = config();
	struct scratch *s = scratch();
	if (!c || !s)
		return TC_ACT_SHOT;
	struct bpf_tunnel_key *key = &s->tunnel_key;
	__builtin_memset(key, 0, sizeof(*key));
	key->tunnel_id = vni;
	key->remote_ipv4 = bpf_ntohl(node);
	key->tunnel_ttl = 64;
	if (bpf_skb_set_tunnel_key(skb, key, TUNNEL_KEY_SIZE, BPF_F_ZERO_CSUM_TX))
		return TC_ACT_SHOT;
	return bpf_redirect(c->tunnel_ifindex, 0);
}

/* The same, to the node's address behind the encryption. */
static __always_inline int tunnel_sealed(struct __sk_buff *skb, __be32 node, __u32 vni)
{
	struct config *c = config();
	struct scratch *s = scratch();
	if (!c || !s)
		return TC_ACT_SHOT;
	struct bpf_tunnel_key *key = &s->tunnel_key;
	__builtin_memset(key, 0, sizeof(*key));
	key->tunnel_id = vni;
	key->remote_ipv6[0] = SEALED_0;
	key->remote_ipv6[1] = SEALED_1;
	key->remote_ipv6[2] = SEALED_2;
	key->remote_ipv6[3] = node;
	key->tunnel_ttl = 64;
	if (bpf_skb_set_tunnel_key(skb, key, TUNNEL_KEY_SIZE, BPF_F_TUNINFO_IPV6))
		return TC_ACT_SHOT;
	return bpf_redirect(c->tunnel_ifindex, 0);
}

/* To an address of a network. `transit` is 0 for packets that came through the tunnel: they end here. */
static __always_inline int to_endpoint(struct __sk_buff *skb, struct packet *p, struct addr *dst, __u32 vni, int transit)
{
	struct place at = { .addr = *dst, .vni = vni };
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &at);
	if (!e)
		return drop(skb, p, COUNT_DROP_UNKNOWN_DESTINATION);
	if (e->kind == ENDPOINT_LOCAL) {
		if (!transit && e->sealed && !p->sealed)
			return drop(skb, p, COUNT_DROP_IN_CLEAR);
		return deliver(skb, e);
	}
	if (e->kind == ENDPOINT_SEALED && transit)
		return tunnel_sealed(skb, e->node, vni);
	if (e->kind == ENDPOINT_REMOTE && transit)
		return tunnel(skb, e->node, p->key.side == SIDE_OUTSIDE ? MESH_VNI : vni);
	if (e->kind == ENDPOINT_GATEWAY && transit && is_echo_request(p))
		return answer_echo(skb, p);
	return drop(skb, p, COUNT_DROP_UNKNOWN_DESTINATION);
}

static __always_inline void reversed(struct flow_key *k, struct tuple *t, __u8 proto, __u32 scope, __u8 side)
{
	__builtin_memset(k, 0, sizeof(*k));
	k->src = t->dst;
	k->dst = t->src;
	k->sport = t->dport;
	k->dport = t->sport;
	k->proto = proto;
	k->scope = scope;
	k->side = side;
}

static __always_inline int is_finished(struct flow *f)
{
	return (f->flags & FLOW_CLOSED) || ((f->flags & FLOW_FIN) && (f->flags & FLOW_PEER_FIN));
}

/* The number that acknowledges the FIN of this packet. */
static __always_inline __be32 fin_end(struct __sk_buff *skb, struct packet *p, __be32 seq)
{
	__be16 total = 0;
	__u8 offset = 0;
	if (bpf_skb_load_bytes(skb, p->v6 ? L3 + 4 : L3 + 2, &total, 2) ||
	    bpf_skb_load_bytes(skb, p->l4 + 12, &offset, 1))
		return 0;
	__u32 headers = p->l4 - L3 - (p->v6 ? 40 : 0) + (offset >> 4) * 4;
	return bpf_htonl(bpf_ntohl(seq) + bpf_ntohs(total) - headers + 1);
}

/* The end of a connection, as far as this packet tells. Each side's FIN is noted in both entries, with the number that
 * acknowledges it; when both are acknowledged, or at a reset from within a network, nothing can follow, and both entries
 * go at once: new connections find warm memory instead of pushing old entries out. A reset that comes from outside may
 * be anybody's, and is only noted. Returns the entry that says where this packet goes. */
static __noinline struct flow *note_close(struct __sk_buff *skb, struct packet *p, struct flow *f)
{
	struct scratch *s = scratch();
	struct flow *other;
	__be32 numbers[2] = {};
	int rst = p->tcp_flags & TCP_RST, ended = 0;
	if (!s)
		return f;
	if (f->road != ROAD_TRACK) {
		if (f->flags & FLOW_REPLY)
			reversed(&s->other_key, &f->to, p->key.proto, f->origin_scope, f->origin_side);
		else
			reversed(&s->other_key, &f->to, p->key.proto, f->vni, SIDE_OVERLAY);
		other = bpf_map_lookup_elem(&flows, &s->other_key);
	} else {
		other = 0;
	}
	/* Whichever entry knows the backend's slot gives the place back, once. */
	struct flow *forward = (f->flags & FLOW_REPLY) ? other : f;
	int was = forward ? is_finished(forward) : 1;
	if (rst) {
		f->flags |= FLOW_RST;
		if (other)
			other->flags |= FLOW_PEER_RST;
		ended = p->key.side == SIDE_OVERLAY;
	} else if (other && !p->frag && !bpf_skb_load_bytes(skb, p->l4 + 4, numbers, 8)) {
		if ((f->flags & FLOW_PEER_FIN) && numbers[1] == other->fin_end)
			f->flags |= FLOW_ACKED;
		if (p->tcp_flags & TCP_FIN) {
			f->flags |= FLOW_FIN;
			other->flags |= FLOW_PEER_FIN;
			f->fin_end = fin_end(skb, p, numbers[0]);
		}
		ended = (f->flags & FLOW_ACKED) && (other->flags & FLOW_ACKED);
	} else if (p->tcp_flags & TCP_FIN) {
		f->flags |= FLOW_FIN;
		/* Nothing is translated here that could still be on its way. */
		ended = f->road == ROAD_TRACK && is_finished(f);
	}
	if (!was && forward && forward->slot != NO_SLOT && is_finished(forward)) {
		struct slot *slot = bpf_map_lookup_elem(&slots, &forward->slot);
		if (slot && slot->generation == forward->generation)
			__sync_fetch_and_add(&slot->live, -1);
	}
	if (!ended)
		return f;
	/* Its memory may be another flow's as soon as it is removed. */
	s->forward = *f;
	bpf_map_delete_elem(&flows, &p->key);
	if (other)
		bpf_map_delete_elem(&flows, &s->other_key);
	return &s->forward;
}

/* Whether a packet of this flow may be about its end. */
static __always_inline int is_closing(struct packet *p, struct flow *f)
{
	return p->key.proto == IPPROTO_TCP && ((p->tcp_flags & (TCP_FIN | TCP_RST)) ||
					       (f->flags & (FLOW_PEER_FIN | FLOW_ACKED)) == FLOW_PEER_FIN);
}

static __always_inline int is_stale(struct flow *f, __u8 proto, __u64 now)
{
	if (proto == IPPROTO_UDP)
		return now > f->seen_ns + UDP_IDLE;
	return is_finished(f) || ((f->flags & FLOW_FIN) && now > f->seen_ns + CLOSED_IDLE);
}

/* The hot path: an entry was found. AGAIN means that it is no longer good and a new flow is to be opened. */
static __always_inline int follow(struct __sk_buff *skb, struct packet *p, struct flow *f, int transit)
{
	__u64 now = bpf_ktime_get_ns();
	if (f->slot != NO_SLOT) {
		struct slot *slot = bpf_map_lookup_elem(&slots, &f->slot);
		if (!slot || slot->generation != f->generation) {
			if (p->key.proto == IPPROTO_TCP && !(p->tcp_flags & TCP_SYN)) {
				bpf_map_delete_elem(&flows, &p->key);
				return refuse(skb, p, COUNT_BACKEND_GONE);
			}
			return AGAIN;
		}
		if (p->key.proto == IPPROTO_UDP) {
			if (is_stale(f, IPPROTO_UDP, now))
				return AGAIN;
		} else if ((p->tcp_flags & TCP_SYN) && is_finished(f)) {
			return AGAIN;
		}
	}
	if (f->road == ROAD_TRACK && p->key.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		/* A new connection from an old one's port. */
		bpf_map_delete_elem(&flows, &p->key);
		return AGAIN;
	}
	if (now - f->seen_ns > SECOND)
		f->seen_ns = now;
	if (is_closing(p, f))
		f = note_close(skb, p, f);
	else if (p->key.proto == IPPROTO_TCP && (p->tcp_flags & TCP_SYN) &&
		 (f->road == ROAD_UPLINK || f->road == ROAD_ENTRY))
		clamp_segment_size(skb, p);
	__u8 road = f->road;
	if (road == ROAD_TRACK)
		return to_endpoint(skb, p, &p->key.dst, p->key.scope, transit);
	if (rewrite(skb, p, &f->to))
		return drop(skb, p, COUNT_DROP_INTERNAL);
	if (road == ROAD_ENDPOINT)
		return to_endpoint(skb, p, &f->to.dst, f->vni, transit);
	if (road == ROAD_UPLINK)
		return bpf_redirect_neigh(f->via, 0, 0, 0);
	return tunnel(skb, f->via, f->vni);
}

/* Enters s->reply. Where another live flow has the same reply, the sender's port is moved, and the answer is "once more".
 * A function of its own without a loop around it in C: older kernels (6.1 among them) refuse a loop whose head is reached by falling
 * through from its own body, and where a compiler puts the head is its own affair. */
static __noinline int enter_reply(struct packet *p, struct scratch *s)
{
	struct flow *f = &s->forward, *r = &s->reply;
	reversed(&s->reply_key, &f->to, p->key.proto, f->vni, SIDE_OVERLAY);
	if (!bpf_map_update_elem(&flows, &s->reply_key, r, BPF_NOEXIST))
		return 0;
	struct flow *old = bpf_map_lookup_elem(&flows, &s->reply_key);
	if (!old || is_stale(old, p->key.proto, r->seen_ns) ||
	    (old->origin_side == r->origin_side && old->origin_scope == r->origin_scope &&
	     old->to.sport == r->to.sport && old->to.dport == r->to.dport &&
	     same(&old->to.src, &r->to.src) && same(&old->to.dst, &r->to.dst))) {
		if (!bpf_map_update_elem(&flows, &s->reply_key, r, BPF_ANY))
			return 0;
	}
	f->to.sport = bpf_htons(1024 + bpf_get_prandom_u32() % 64512);
	return 1;
}

static __always_inline int enter_reply_somewhere(struct packet *p, struct scratch *s)
{
	if (!enter_reply(p, s))
		return 0;
	count(COUNT_PORT_MOVED);
	return enter_reply(p, s) && enter_reply(p, s) && enter_reply(p, s) && enter_reply(p, s) &&
	       enter_reply(p, s) && enter_reply(p, s) && enter_reply(p, s);
}

/* Opens the flow that s->forward and s->reply describe (all but the addresses of the reply, which follow from the
 * forward one). Two services or two entry nodes may lead the same client port to the same backend: then the sender's
 * port is moved. */
static __noinline int open_flow(struct __sk_buff *skb, struct packet *p, struct scratch *s)
{
	struct flow *f = &s->forward, *r = &s->reply;
	__u64 now = bpf_ktime_get_ns();
	r->to.src = p->key.dst;
	r->to.dst = p->key.src;
	r->to.sport = p->key.dport;
	r->to.dport = p->key.sport;
	r->slot = NO_SLOT;
	r->generation = 0;
	r->flags = FLOW_REPLY;
	r->origin_side = p->key.side;
	r->origin_scope = p->key.scope;
	r->vni = f->vni;
	r->seen_ns = f->seen_ns = now;
	f->flags = 0;
	if (enter_reply_somewhere(p, s))
		return -1;
	if (bpf_map_update_elem(&flows, &p->key, f, BPF_ANY))
		return -1;
	if (f->slot != NO_SLOT) {
		struct slot *slot = bpf_map_lookup_elem(&slots, &f->slot);
		if (slot)
			__sync_fetch_and_add(&slot->live, 1);
	}
	__u32 reason = p->key.side == SIDE_OVERLAY ? COUNT_FLOW_OPENED : COUNT_MESH_OPENED;
	count(reason);
	tell(skb, &p->key, &f->to, reason);
	return 0;
}

/* Remembers a direct connection to a local container, so that draining can see it. */
static __noinline void track(struct packet *p)
{
	struct scratch *s = scratch();
	if (!s)
		return;
	struct flow *f = &s->forward;
	__builtin_memset(f, 0, sizeof(*f));
	f->slot = NO_SLOT;
	f->road = ROAD_TRACK;
	f->vni = p->key.scope;
	f->to.src = p->key.src;
	f->to.dst = p->key.dst;
	f->to.sport = p->key.sport;
	f->to.dport = p->key.dport;
	f->seen_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&flows, &p->key, f, BPF_NOEXIST);
}

/* For direct TCP: an end is noted where the connection is tracked; a new connection forgets what its reply tuple meant
 * before. 1 if that is still in use: the same client port leads through a balanced address to the same backend. */
static __noinline int note_direct(struct packet *p)
{
	struct scratch *s = scratch();
	if (!s)
		return 0;
	struct tuple t = { .src = p->key.src, .dst = p->key.dst, .sport = p->key.sport, .dport = p->key.dport };
	reversed(&s->other_key, &t, p->key.proto, p->key.scope, p->key.side);
	struct flow *f = bpf_map_lookup_elem(&flows, &s->other_key);
	if (!f)
		return 0;
	if (p->tcp_flags & (TCP_RST | TCP_FIN)) {
		if (f->road != ROAD_TRACK)
			return 0;
		f->flags |= FLOW_PEER_FIN;
		if ((p->tcp_flags & TCP_RST) || is_finished(f))
			bpf_map_delete_elem(&flows, &s->other_key);
		return 0;
	}
	if (p->tcp_flags & TCP_ACK)
		return 0;
	if ((f->flags & FLOW_REPLY) && !is_stale(f, IPPROTO_TCP, bpf_ktime_get_ns()))
		return 1;
	bpf_map_delete_elem(&flows, &s->other_key);
	return 0;
}

/* Opens a flow for a direct connection whose client port cannot be used as it is. */
static __noinline int open_direct(struct __sk_buff *skb, struct packet *p)
{
	struct scratch *s = scratch();
	if (!s)
		return -1;
	__builtin_memset(&s->forward, 0, sizeof(s->forward));
	__builtin_memset(&s->reply, 0, sizeof(s->reply));
	s->forward.to.src = p->key.src;
	s->forward.to.dst = p->key.dst;
	s->forward.to.sport = p->key.sport;
	s->forward.to.dport = p->key.dport;
	s->forward.vni = p->key.scope;
	s->forward.slot = NO_SLOT;
	s->forward.road = ROAD_ENDPOINT;
	s->reply.road = ROAD_ENDPOINT;
	if (open_flow(skb, p, s))
		return -1;
	return rewrite(skb, p, &s->forward.to);
}
