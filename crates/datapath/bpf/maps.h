/* The maps. Those that a reader could catch in mid-change are not preallocated, so that an entry that is replaced stays
 * whole until every program that saw it has ended. All are pinned: they outlive the daemon. */
#pragma once
#include <bpf/bpf_helpers.h>
#include "types.h"

#define PINNED __uint(pinning, 1)

#define TABLE(name_, key_, value_, max_)                                                                              \
	struct {                                                                                                      \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                      \
		__type(key, key_);                                                                                    \
		__type(value, value_);                                                                                \
		__uint(max_entries, max_);                                                                            \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                 \
		PINNED;                                                                                               \
	} name_ SEC(".maps")

#define MEMORY(name_, key_, value_, max_)                                                                             \
	struct {                                                                                                      \
		__uint(type, BPF_MAP_TYPE_LRU_HASH);                                                                  \
		__type(key, key_);                                                                                    \
		__type(value, value_);                                                                                \
		__uint(max_entries, max_);                                                                            \
		PINNED;                                                                                               \
	} name_ SEC(".maps")

TABLE(ports, __u32, struct port, 16384);
TABLE(endpoints, struct place, struct endpoint, 262144);
TABLE(services, struct place, struct service, 65536);
TABLE(mesh, struct mesh_key, struct service, 65536);
TABLE(backends, struct backend_key, struct backend, 262144);
TABLE(own_addresses, struct addr, __u32, 4096);
TABLE(peers, __be32, __u32, 16384);
MEMORY(flows, struct flow_key, struct flow, 262144);
MEMORY(fragments, struct fragment_key, struct ports, 4096);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct slot);
	__uint(max_entries, 65536);
	PINNED;
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct config);
	__uint(max_entries, 1);
	PINNED;
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, COUNTERS);
	PINNED;
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
	PINNED;
} events SEC(".maps");

/* Room for building a flow: the programs' stack is 512 bytes. */
struct scratch {
	struct flow forward;
	struct flow reply;
	struct flow_key reply_key;
	struct flow_key other_key;
	struct tuple quoted;
	__u32 pad2;
	struct bpf_tunnel_key tunnel_key;
	__u64 window_ns;
	__u32 window_events;
	__u32 pad;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct scratch);
	__uint(max_entries, 1);
} scratches SEC(".maps");

static __always_inline struct config *config(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline struct scratch *scratch(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&scratches, &zero);
}

static __always_inline void count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &which);
	if (n)
		*n += 1;
}

/* Tells whoever listens, at most so many times a second. `to` may be null. */
static __noinline void tell(struct __sk_buff *skb, struct flow_key *key, struct tuple *to, __u32 reason)
{
	struct config *c = config();
	struct scratch *s = scratch();
	if (!c || !s || !c->events_per_second)
		return;
	__u64 now = bpf_ktime_get_ns();
	if (now - s->window_ns > 1000000000ULL) {
		s->window_ns = now;
		s->window_events = 0;
	}
	if (s->window_events >= c->events_per_second)
		return;
	s->window_events++;
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return;
	__builtin_memset(e, 0, sizeof(*e));
	e->at_ns = now;
	e->reason = reason;
	e->ifindex = skb->ifindex;
	if (key)
		e->key = *key;
	if (to)
		e->to = *to;
	bpf_ringbuf_submit(e, 0);
}
