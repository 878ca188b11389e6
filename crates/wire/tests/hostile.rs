//! Whatever another machine sends: a message or an error, never a panic, and no more memory than was sent.
#![allow(missing_docs)]
use model::{Directory, NodeDescription, TaskId, TaskState, TaskStatus};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use wire::agent::{Assignments, FromNode, JoinAnswer, JoinRequest, RenewRequest, ToNode};
use wire::codec::{CodecError, FRAME_BYTES_MAX, FrameReader, frame, from_slice};

fn messages() -> Vec<Vec<u8>> {
    let status = TaskStatus { state: TaskState::Running, message: "started".into(), ..Default::default() };
    let id = <TaskId as model::Id>::from_random([3; 17]);
    let hello = FromNode::Hello { description: NodeDescription::default(), data_path_addr: None, directory: 7 };
    let up = [hello, FromNode::Status(vec![(id, status)]), FromNode::TunnelRefused { id: 1, why: "no".into() }];
    let down = [
        ToNode::Assignments(Assignments { sequence: 1, ..Default::default() }),
        ToNode::Directory(Directory::default()),
        ToNode::AllApplied(9),
        ToNode::Disconnect { why: "gone".into(), removed: true },
    ];
    let up = up.iter().map(|m| frame(m).unwrap().to_vec());
    up.chain(down.iter().map(|m| frame(m).unwrap().to_vec())).collect()
}

/// Reads a stream to its end or to its first error, as a session does.
fn read<T: DeserializeOwned + Debug>(chunks: &[&[u8]]) -> Result<usize, CodecError> {
    let (mut reader, mut count) = (FrameReader::default(), 0);
    for chunk in chunks {
        reader.push(chunk);
        while reader.pop::<T>()?.is_some() {
            count += 1;
        }
    }
    Ok(count)
}

#[test]
fn nothing_longer_than_the_limit_is_waited_for() {
    let head = (FRAME_BYTES_MAX as u32 + 1).to_be_bytes();
    assert!(matches!(read::<FromNode>(&[&head]), Err(CodecError::TooLong(_))));
    let mut small = FrameReader::with_limit(100);
    small.push(&frame(&"x".repeat(200)).unwrap());
    assert!(matches!(small.pop::<String>(), Err(CodecError::TooLong(_))));
}

#[test]
fn a_length_that_lies_inside_a_message_costs_nothing() {
    // MessagePack's "array of four thousand million", "string of …", "map of …", with nothing behind.
    for head in [0xdd_u8, 0xdb, 0xdf, 0xc6, 0xc9] {
        let bytes = [&[head][..], &[0xff; 4]].concat();
        assert!(from_slice::<Directory>(&bytes).is_err());
        assert!(from_slice::<FromNode>(&bytes).is_err());
        assert!(from_slice::<Vec<String>>(&bytes).is_err());
    }
    // As deep as it is long.
    assert!(from_slice::<Directory>(&vec![0x91; 1 << 20]).is_err());
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(serde_json::from_str::<JoinRequest>(&deep).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn noise_is_refused_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
        let (a, b) = bytes.split_at(cut.min(bytes.len()));
        let _ = read::<FromNode>(&[a, b]);
        let _ = read::<ToNode>(&[a, b]);
        let _ = from_slice::<FromNode>(&bytes);
        let _ = from_slice::<ToNode>(&bytes);
        let _ = serde_json::from_slice::<JoinRequest>(&bytes);
        let _ = serde_json::from_slice::<JoinAnswer>(&bytes);
        let _ = serde_json::from_slice::<RenewRequest>(&bytes);
    }

    #[test]
    fn damaged_messages_are_refused_or_read(
        which in 0usize..7,
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = messages().swap_remove(which);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read::<FromNode>(&[&bytes]);
        let _ = read::<ToNode>(&[&bytes[..cut.index(bytes.len())]]);
        let _ = from_slice::<FromNode>(&bytes[4..]);
        let _ = from_slice::<ToNode>(&bytes[4..]);
    }
}
