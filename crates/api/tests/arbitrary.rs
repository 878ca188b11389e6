//! Whatever arrives: an answer, never a panic.
mod fake;

use axum::body::Body;
use proptest::prelude::*;

const POSTS: &[&str] = &[
    "/containers/create",
    "/containers/x/update",
    "/containers/x/exec",
    "/exec/x/start",
    "/networks/create",
    "/networks/x/connect",
    "/volumes/create",
    "/swarm/init",
    "/swarm/join",
    "/swarm/update?version=1",
    "/services/create",
    "/services/x/update?version=1",
    "/secrets/create",
    "/configs/create",
    "/nodes/self/update?version=1",
    "/auth",
    "/commit?container=x",
];

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
        Just("9223372036854775807/1".into()),
    ];
    let key = prop_oneof![
        Just("Spec".to_owned()),
        Just("TaskTemplate".to_owned()),
        Just("ContainerSpec".to_owned()),
        Just("Mounts".to_owned()),
        Just("HostConfig".to_owned()),
        Just("PortBindings".to_owned()),
        Just("IPAM".to_owned()),
        Just("Config".to_owned()),
        Just("Subnet".to_owned()),
        Just("EndpointSpec".to_owned()),
        Just("Ports".to_owned()),
        Just("Cmd".to_owned()),
        Just("Name".to_owned()),
        Just("ConsoleSize".to_owned()),
        Just("Driver".to_owned()),
        Just("Mode".to_owned()),
        ".{0,4}",
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|kv| serde_json::Value::Object(kv.into_iter().collect())),
        ]
    })
}

fn answers(path: &str, body: Vec<u8>) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fake = fake::Fake::default();
        let server = api::Server::new(fake.backends());
        let init = http::Request::post("/swarm/init").body(Body::from(r#"{"ListenAddr":"0.0.0.0:2377"}"#)).unwrap();
        if !path.starts_with("/swarm/init") && !path.starts_with("/swarm/join") {
            assert_eq!(server.handle(init).await.status(), 200);
        }
        server.handle(http::Request::post(path).body(Body::from(body)).unwrap()).await.status().as_u16()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_answered(path in proptest::sample::select(POSTS), body in proptest::collection::vec(any::<u8>(), 0..64)) {
        // A panic would be told as 500 with this text; the fakes never answer 500 here except for stale versions.
        prop_assert!(answers(path, body) >= 200);
    }

    #[test]
    fn any_json_is_answered(path in proptest::sample::select(POSTS), body in value()) {
        let status = answers(path, body.to_string().into_bytes());
        prop_assert!(status != 500, "{path} {body}: {status}");
    }

    #[test]
    fn any_query_is_answered(text in ".{0,40}") {
        let escaped: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = runtime.block_on(async {
            let server = api::Server::new(fake::Fake::default().backends());
            let uri = format!("/containers/json?filters={escaped}&limit={escaped}");
            server.handle(http::Request::get(uri).body(Body::empty()).unwrap()).await.status().as_u16()
        });
        prop_assert!(status == 200 || status == 400);
    }
}
