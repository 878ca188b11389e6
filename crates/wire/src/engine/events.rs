//! Events.
use super::shape::{Map, shapes};

shapes! {
    /// One event. The first three fields repeat the others for old clients and are left out when empty.
    Event {
        status: String = "status" omitempty;
        id: String = "id" omitempty;
        from: String = "from" omitempty;
        typ: String = "Type";
        action: String = "Action";
        actor: Actor = "Actor";
        scope: String = "scope" omitempty;
        time: i64 = "time" omitempty;
        time_nano: i64 = "timeNano" omitempty;
    }
    /// What it happened to.
    Actor { id: String = "ID"; attributes: Map = "Attributes"; }
}

impl Event {
    /// An event as Docker words it; container and image events also fill the three old fields. `scope`: `local` or `swarm`.
    pub fn new(typ: &str, action: &str, id: &str, attributes: Map, scope: &str, at: model::Timestamp) -> Self {
        let old = matches!(typ, "container" | "image");
        Self {
            status: if old { action.to_owned() } else { String::new() },
            id: if old { id.to_owned() } else { String::new() },
            from: if typ == "container" { attributes.get("image").cloned().unwrap_or_default() } else { String::new() },
            typ: typ.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            scope: scope.to_owned(),
            time: at.0.div_euclid(1_000_000_000),
            time_nano: at.0,
        }
    }
}
