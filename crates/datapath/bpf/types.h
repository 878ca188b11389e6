/* What the maps hold. `src/layout.rs` says the same in Rust; its tests compare sizes and offsets. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>

/* An address is always 128 bits; IPv4 is written IPv4-mapped (::ffff:a.b.c.d). */
struct addr {
	__be32 w[4];
};

/* An address within one network (or, with vni 0, an address of this machine). */
struct place {
	struct addr addr;
	__u32 vni;
};

enum endpoint_kind {
	ENDPOINT_LOCAL = 0,
	ENDPOINT_REMOTE = 1,
	ENDPOINT_GATEWAY = 2,
	ENDPOINT_SEALED = 3, /* remote, and only by the encrypted way */
};

/* Nodes have an address behind the encryption too: these 96 bits, then the underlay address. */
#define SEALED_0 bpf_htonl(0xfd736861)
#define SEALED_1 bpf_htonl(0x6c000000)
#define SEALED_2 0

struct endpoint {
	__u32 ifindex; /* host side of the container's veth, if local */
	__be32 node;   /* underlay address, if remote */
	__u8 mac[6];   /* of the container, if local */
	__u8 kind;
	__u8 sealed; /* if local: takes nothing from other nodes that came in clear */
};

/* The interface a container's packets come in by. */
struct port {
	struct addr addr4; /* what it may call itself; all zero: nothing */
	struct addr addr6;
	__u32 vni;
	__u32 pad;
};

enum policy {
	POLICY_RANDOM = 0,
	POLICY_ROUND_ROBIN = 1,
	POLICY_LEAST_CONNECTIONS = 2,
	POLICY_SOURCE = 3,
};

/* A balanced address (key: place) or a port of the routing mesh (key: mesh_key). */
struct service {
	__u32 set;    /* which rows of `backends`; a new number for each new set */
	__u32 ready;  /* rows 0..ready take new flows; draining ones follow after */
	__u32 nearby; /* rows 0..nearby are on this node; 0 unless these are preferred */
	__u32 policy;
	__u32 cursor; /* round robin */
	__u32 vni;
	__be16 target_port; /* mesh only */
	__u16 total;        /* rows, draining ones included */
};

struct mesh_key {
	__be16 port;
	__u8 proto;
	__u8 pad;
};

struct backend_key {
	__u32 set;
	__u32 index;
};

struct backend {
	struct addr addr;
	__u32 slot;
	__u32 generation;
};

/* One per live backend; a flow whose generation differs from its slot's has lost its backend. */
struct slot {
	__u32 generation;
	__s32 live; /* flows opened minus flows closed: an estimate for least-connections */
};
#define NO_SLOT 0xffffffff

/* Where a packet with this key is seen. */
enum side {
	SIDE_OVERLAY = 0, /* inside a network: scope is its vni */
	SIDE_OUTSIDE = 1, /* on an uplink: scope is 0 */
	SIDE_MESH = 2,    /* forwarded by an entry node: scope is that node's address */
};

struct flow_key {
	struct addr src;
	struct addr dst;
	__u32 scope;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 side;
	__u16 pad;
};

struct tuple {
	struct addr src;
	struct addr dst;
	__be16 sport;
	__be16 dport;
};

/* Where the packet goes once it is rewritten. */
enum road {
	ROAD_ENDPOINT = 0, /* to the endpoint (vni, to.dst) */
	ROAD_UPLINK = 1,   /* out of the interface `via`, to a client outside */
	ROAD_ENTRY = 2,    /* through the tunnel to the entry node `via` */
	ROAD_TRACK = 3,    /* not rewritten: a direct connection to a local endpoint, remembered for draining */
};

#define FLOW_FIN 1      /* closed by this direction's sender */
#define FLOW_RST 2      /* reset by this direction's sender */
#define FLOW_PEER_FIN 4 /* closed by the other side */
#define FLOW_PEER_RST 8
#define FLOW_REPLY 16   /* translates replies; the other entry is the reversed `to` */
#define FLOW_ACKED 32   /* this direction's sender has acknowledged the other side's FIN */
#define FLOW_CLOSED (FLOW_RST | FLOW_PEER_RST)

struct flow {
	struct tuple to;
	__u32 via;
	__u32 vni; /* of the network that `to.dst` (or the reply tunnel) is in */
	__u32 slot;
	__u32 generation;
	__u8 road;
	__u8 flags;
	__u8 origin_side; /* of a reply: side and scope of its forward entry */
	__u8 pad;
	__u32 origin_scope;
	__be32 fin_end; /* what acknowledges this direction's FIN */
	__u64 seen_ns;
};

struct fragment_key {
	struct addr src;
	struct addr dst;
	__u32 id;
	__u32 scope;
	__u8 proto;
	__u8 side;
	__u16 pad;
};

struct ports {
	__be16 sport;
	__be16 dport;
};

struct config {
	__u32 tunnel_ifindex;
	__u32 ingress_vni;
	__u32 mtu;               /* of the overlays; 0: unknown, segment sizes are left alone */
	__u32 events_per_second; /* and CPU; 0: no events */
};

/* VXLAN identifier that carries packets from an entry node to a backend's node. Networks begin at 4096. */
#define MESH_VNI 1

enum counter {
	COUNT_FLOW_OPENED,
	COUNT_MESH_OPENED,
	COUNT_PORT_MOVED,
	COUNT_BACKEND_GONE,
	COUNT_REFUSED_NO_BACKEND,
	COUNT_REFUSED_NO_FLOW,
	COUNT_DROP_MALFORMED,
	COUNT_DROP_NOT_CARRIED,
	COUNT_DROP_UNKNOWN_DESTINATION,
	COUNT_DROP_SPOOFED_SOURCE,
	COUNT_DROP_UNKNOWN_PEER,
	COUNT_DROP_NO_PORT,
	COUNT_DROP_TABLE_FULL,
	COUNT_DROP_PROTOCOL,
	COUNT_DROP_FRAGMENT,
	COUNT_DROP_INTERNAL,
	COUNT_ERRORS_TRANSLATED,
	COUNT_DROP_IN_CLEAR,
	COUNTERS,
};

struct event {
	__u64 at_ns;
	struct flow_key key;
	struct tuple to;
	__u32 reason; /* enum counter */
	__u32 ifindex;
};
