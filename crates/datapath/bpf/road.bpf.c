// SPDX-License-Identifier: GPL-2.0
/* The packet road: the programs at its four gates. `src/lib.rs` draws it. */
#include "error.h"

char _license[] SEC("license") = "GPL";

/* tc ingress on the host side of a container's overlay interface. */
SEC("classifier")
int from_container(struct __sk_buff *skb)
{
	struct packet p;
	__u32 ifindex = skb->ifindex;
	struct port *port = bpf_map_lookup_elem(&ports, &ifindex);
	if (!port)
		return drop(skb, 0, COUNT_DROP_NO_PORT);
	__u32 vni = port->vni;
	switch (parse(skb, &p, vni, SIDE_OVERLAY)) {
	case PARSED_IP:
		break;
	case PARSED_ARP:
		return answer_arp(skb, vni);
	case PARSED_OTHER:
		return drop(skb, 0, COUNT_DROP_NOT_CARRIED);
	case PARSED_LOST_FRAGMENT:
		return drop(skb, &p, COUNT_DROP_FRAGMENT);
	default:
		return drop(skb, 0, COUNT_DROP_MALFORMED);
	}
	if (p.v6 && p.key.proto == IPPROTO_ICMPV6 && p.tcp_flags == 135)
		return answer_neighbour(skb, &p);
	if (!same(&p.key.src, p.v6 ? &port->addr6 : &port->addr4)) {
		/* Not its own address here; but an answer to a client of the mesh may take any way out. */
		struct config *c = config();
		if (c && p.has_ports) {
			p.key.scope = c->ingress_vni;
			struct flow *f = bpf_map_lookup_elem(&flows, &p.key);
			if (f && (f->road == ROAD_UPLINK || f->road == ROAD_ENTRY))
				return follow(skb, &p, f, 1);
		}
		return drop(skb, &p, COUNT_DROP_SPOOFED_SOURCE);
	}
	if (p.has_ports) {
		struct flow *f = bpf_map_lookup_elem(&flows, &p.key);
		if (f) {
			int verdict = follow(skb, &p, f, 1);
			if (verdict != AGAIN)
				return verdict;
		}
	} else if (is_error(&p)) {
		int verdict = translate_error(skb, &p, 1);
		if (verdict != AGAIN)
			return verdict;
	}
	struct place at = { .addr = p.key.dst, .vni = vni };
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &at);
	if (e) {
		if (p.key.proto == IPPROTO_TCP && (p.tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))) {
			if (note_direct(&p)) {
				if (open_direct(skb, &p))
					return drop(skb, &p, COUNT_DROP_TABLE_FULL);
			} else if (e->kind == ENDPOINT_LOCAL && (p.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
				track(&p);
			}
		}
		if (e->kind == ENDPOINT_LOCAL)
			return deliver(skb, e);
		if (e->kind == ENDPOINT_REMOTE)
			return tunnel(skb, e->node, vni);
		if (e->kind == ENDPOINT_SEALED)
			return tunnel_sealed(skb, e->node, vni);
		if (is_echo_request(&p))
			return answer_echo(skb, &p);
		return drop(skb, &p, COUNT_DROP_UNKNOWN_DESTINATION);
	}
	struct service *svc = bpf_map_lookup_elem(&services, &at);
	if (!svc)
		return drop(skb, &p, COUNT_DROP_UNKNOWN_DESTINATION);
	if (p.has_ports)
		return new_flow(skb, &p, svc, vni);
	if (is_echo_request(&p) && svc->ready)
		return answer_echo(skb, &p);
	return drop(skb, &p, svc->ready ? COUNT_DROP_PROTOCOL : COUNT_REFUSED_NO_BACKEND);
}

/* A packet that an entry node forwarded to a container here. Its answer is to go back through that node. */
static __noinline int from_entry(struct __sk_buff *skb, __be32 node)
{
	struct packet p;
	struct config *c = config();
	struct scratch *s = scratch();
	if (!c || !s)
		return TC_ACT_SHOT;
	int parsed = parse(skb, &p, node, SIDE_MESH);
	if (parsed == PARSED_LOST_FRAGMENT)
		return drop(skb, &p, COUNT_DROP_FRAGMENT);
	if (parsed == PARSED_IP && is_error(&p)) {
		int verdict = translate_error(skb, &p, 0);
		return verdict == AGAIN ? drop(skb, &p, COUNT_DROP_UNKNOWN_DESTINATION) : verdict;
	}
	if (parsed != PARSED_IP || !p.has_ports)
		return drop(skb, 0, COUNT_DROP_MALFORMED);
	struct flow *f = bpf_map_lookup_elem(&flows, &p.key);
	if (f && !((p.tcp_flags & TCP_SYN) && is_finished(f)))
		return follow(skb, &p, f, 0);
	struct place at = { .addr = p.key.dst, .vni = c->ingress_vni };
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &at);
	if (!e || e->kind != ENDPOINT_LOCAL)
		return drop(skb, &p, COUNT_DROP_UNKNOWN_DESTINATION);
	__builtin_memset(&s->forward, 0, sizeof(s->forward));
	__builtin_memset(&s->reply, 0, sizeof(s->reply));
	s->forward.to.src = p.key.src;
	s->forward.to.dst = p.key.dst;
	s->forward.to.sport = p.key.sport;
	s->forward.to.dport = p.key.dport;
	s->forward.vni = c->ingress_vni;
	s->forward.slot = NO_SLOT;
	s->forward.road = ROAD_ENDPOINT;
	s->reply.road = ROAD_ENTRY;
	s->reply.via = node;
	if (open_flow(skb, &p, s))
		return drop(skb, &p, COUNT_DROP_TABLE_FULL);
	if (rewrite(skb, &p, &s->forward.to))
		return drop(skb, &p, COUNT_DROP_INTERNAL);
	return deliver(skb, e);
}

/* tc ingress on the tunnel device. */
SEC("classifier")
int from_overlay(struct __sk_buff *skb)
{
	struct packet p;
	struct scratch *s = scratch();
	if (!s)
		return TC_ACT_SHOT;
	struct bpf_tunnel_key *key = &s->tunnel_key;
	__be32 node;
	__u8 sealed = 0;
	if (!bpf_skb_get_tunnel_key(skb, key, TUNNEL_KEY_SIZE, 0)) {
		node = bpf_htonl(key->remote_ipv4);
	} else {
		if (bpf_skb_get_tunnel_key(skb, key, TUNNEL_KEY_SIZE, BPF_F_TUNINFO_IPV6))
			return drop(skb, 0, COUNT_DROP_MALFORMED);
		if (key->remote_ipv6[0] != SEALED_0 || key->remote_ipv6[1] != SEALED_1 ||
		    key->remote_ipv6[2] != SEALED_2)
			return drop(skb, 0, COUNT_DROP_UNKNOWN_PEER);
		node = key->remote_ipv6[3];
		sealed = 1;
	}
	__u32 vni = key->tunnel_id;
	if (!bpf_map_lookup_elem(&peers, &node))
		return drop(skb, 0, COUNT_DROP_UNKNOWN_PEER);
	if (vni == MESH_VNI)
		return from_entry(skb, node);
	int parsed = parse(skb, &p, vni, SIDE_OVERLAY);
	if (parsed == PARSED_LOST_FRAGMENT)
		return drop(skb, &p, COUNT_DROP_FRAGMENT);
	if (parsed != PARSED_IP)
		return drop(skb, 0, COUNT_DROP_NOT_CARRIED);
	p.sealed = sealed;
	if (p.has_ports) {
		struct flow *f = bpf_map_lookup_elem(&flows, &p.key);
		/* Forward entries belong to packets of local containers; here the key can only be a coincidence. */
		if (f && f->slot == NO_SLOT) {
			int verdict = follow(skb, &p, f, 0);
			if (verdict != AGAIN)
				return verdict;
		}
	} else if (is_error(&p)) {
		int verdict = translate_error(skb, &p, 0);
		if (verdict != AGAIN)
			return verdict;
	}
	struct place at = { .addr = p.key.dst, .vni = vni };
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &at);
	if (!e || e->kind != ENDPOINT_LOCAL)
		return drop(skb, &p, COUNT_DROP_UNKNOWN_DESTINATION);
	if (e->sealed && !sealed)
		return drop(skb, &p, COUNT_DROP_IN_CLEAR);
	if (p.key.proto == IPPROTO_TCP && (p.tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))) {
		note_direct(&p);
		if ((p.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			track(&p);
	}
	return deliver(skb, e);
}

/* tc ingress on an uplink: published ports. All else is none of our business. */
SEC("classifier")
int from_outside(struct __sk_buff *skb)
{
	struct packet p;
	if (parse(skb, &p, 0, SIDE_OUTSIDE) != PARSED_IP)
		return TC_ACT_UNSPEC;
	if (is_error(&p)) {
		int verdict = translate_error(skb, &p, 1);
		return verdict == AGAIN ? TC_ACT_UNSPEC : verdict;
	}
	if (!p.has_ports)
		return TC_ACT_UNSPEC;
	struct mesh_key at = { .port = p.key.dport, .proto = p.key.proto };
	struct service *svc = bpf_map_lookup_elem(&mesh, &at);
	if (!svc)
		return TC_ACT_UNSPEC;
	struct flow *f = bpf_map_lookup_elem(&flows, &p.key);
	if (f) {
		int verdict = follow(skb, &p, f, 1);
		if (verdict != AGAIN)
			return verdict;
	}
	if (!bpf_map_lookup_elem(&own_addresses, &p.key.dst))
		return TC_ACT_UNSPEC;
	/* Tasks without this family are reached through the socket that holds the port. */
	if (svc->ready && !speaks(svc, p.v6))
		return TC_ACT_UNSPEC;
	return new_flow(skb, &p, svc, svc->vni);
}

/* tc ingress on the host side of a container's way out: answers to clients of the mesh are taken, the rest passes. */
SEC("classifier")
int from_exit(struct __sk_buff *skb)
{
	struct packet p;
	__u32 ifindex = skb->ifindex;
	struct config *c = config();
	if (!c || !c->ingress_vni || parse(skb, &p, c->ingress_vni, SIDE_OVERLAY) != PARSED_IP)
		return TC_ACT_UNSPEC;
	if (is_error(&p)) {
		int verdict = translate_error(skb, &p, 1);
		return verdict == AGAIN ? TC_ACT_UNSPEC : verdict;
	}
	if (!p.has_ports)
		return TC_ACT_UNSPEC;
	struct flow *f = 0;
	if (p.key.proto == IPPROTO_UDP) {
		/* A socket that is bound to no address answers with that of the interface the answer leaves by, which is
		 * not the one that was called: look under the container's address on the ingress network. */
		struct port *port = bpf_map_lookup_elem(&ports, &ifindex);
		if (port) {
			struct addr actual = p.key.src;
			p.key.src = p.v6 ? port->addr6 : port->addr4;
			f = bpf_map_lookup_elem(&flows, &p.key);
			p.key.src = actual;
		}
	} else {
		f = bpf_map_lookup_elem(&flows, &p.key);
	}
	if (!f || (f->road != ROAD_UPLINK && f->road != ROAD_ENTRY))
		return TC_ACT_UNSPEC;
	return follow(skb, &p, f, 1);
}

/* tc ingress on a container's loopback: 127.0.0.11:53 is served from another port, so that nothing in the container
 * can be in the way of it, nor it in anyone's. */
#define RESOLVER bpf_htonl(0x7f00000b)
volatile const __u16 dns_port = 0;

SEC("classifier")
int dns_redirect(struct __sk_buff *skb)
{
	struct packet p;
	if (skb->protocol != bpf_htons(ETH_P_IP) || parse(skb, &p, 0, SIDE_OUTSIDE) != PARSED_IP || !p.has_ports ||
	    p.frag)
		return TC_ACT_UNSPEC;
	struct tuple to = { .src = p.key.src, .dst = p.key.dst, .sport = p.key.sport, .dport = p.key.dport };
	if (p.key.dst.w[3] == RESOLVER && p.key.dport == bpf_htons(53))
		to.dport = bpf_htons(dns_port);
	else if (p.key.src.w[3] == RESOLVER && p.key.sport == bpf_htons(dns_port))
		to.sport = bpf_htons(53);
	else
		return TC_ACT_UNSPEC;
	rewrite(skb, &p, &to);
	return TC_ACT_UNSPEC;
}
