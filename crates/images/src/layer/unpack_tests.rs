use super::*;
use proptest::prelude::*;
use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
};
use tar::Header;

const LIMITS: Limits = Limits { bytes_max: 1 << 20, entries_max: 200 };

fn header(kind: EntryType, path: &[u8], link: &[u8], size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
    header.as_mut_bytes()[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(size);
    if matches!(kind, EntryType::Char | EntryType::Block) {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    }
    header.set_cksum();
    header
}

fn tar(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, link, data) in entries {
        builder.append(&header(*kind, path.as_bytes(), link.as_bytes(), data.len() as u64), *data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A layer's directory beside files that must not change.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("layer")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/victim"), "untouched").unwrap();
        Self(dir)
    }
    fn layer(&self) -> PathBuf {
        self.0.path().join("layer")
    }
    fn diff(&self) -> PathBuf {
        self.layer().join("diff")
    }
    fn unpack(&self, tar: &[u8]) -> Result<Outcome, ImageError> {
        layer(tar, &self.layer(), LIMITS)
    }
    fn check_outside(&self) {
        let names = |p: PathBuf| -> Vec<String> {
            let mut names: Vec<String> =
                fs::read_dir(p).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.0.path().to_owned()), ["layer", "outside"]);
        assert_eq!(names(self.0.path().join("outside")), ["victim"]);
        assert_eq!(fs::read_to_string(self.0.path().join("outside/victim")).unwrap(), "untouched");
        assert_eq!(fs::metadata(self.0.path().join("outside/victim")).unwrap().nlink(), 1);
    }
}

/// Other readers of tar take fields of blanks for 0, and some writers leave out what they do not know.
#[test]
fn blank_owners_are_root() {
    let bench = Bench::new();
    let mut blank = header(EntryType::Regular, b"f", b"", 1);
    blank.as_old_mut().uid = [0; 8];
    blank.as_old_mut().gid = [b' '; 8];
    blank.as_old_mut().mtime = [0; 12];
    blank.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&blank, &b"x"[..]).unwrap();
    bench.unpack(&builder.into_inner().unwrap()).unwrap();
    let meta = fs::metadata(bench.diff().join("f")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mtime()), (0, 0, 0));
}

#[test]
fn hostile_layers_stay_inside() {
    use EntryType::{Char, Directory as Dir, Link, Regular as File, Symlink};
    // `@` stands for the directory outside of this very bench.
    let (outside, victim) = ("@", "@/victim");
    type Case<'a> = (&'a str, Vec<(EntryType, &'a str, &'a str, &'a [u8])>, bool);
    let cases: Vec<Case<'_>> = vec![
        ("dots", vec![(File, "../outside/new", "", b"x")], false),
        ("dots inside", vec![(File, "a/../../outside/new", "", b"x")], false),
        ("absolute", vec![(File, victim, "", b"x")], true),
        ("through an absolute link", vec![(Symlink, "l", outside, b""), (File, "l/new", "", b"x")], false),
        ("over a link", vec![(Symlink, "l", victim, b""), (File, "l", "", b"x")], true),
        ("through dots in a link", vec![(Symlink, "l", "../../outside", b""), (File, "l/victim", "", b"x")], false),
        (
            "link to a link",
            vec![(Symlink, "a", "..", b""), (Symlink, "b", "a/../../outside", b""), (File, "b/new", "", b"x")],
            false,
        ),
        ("hard link out by dots", vec![(Link, "h", "../../outside/victim", b"")], false),
        ("hard link out absolute", vec![(Link, "h", victim, b"")], false),
        ("hard link through a link", vec![(Symlink, "l", outside, b""), (Link, "h", "l/victim", b"")], false),
        (
            "hard link to a link, then write",
            vec![(Symlink, "l", victim, b""), (Link, "h", "l", b""), (File, "h", "", b"x")],
            true,
        ),
        ("whiteout of the parent", vec![(Dir, "d", "", b""), (File, "d/.wh..", "", b"")], false),
        ("whiteout of the parent's parent", vec![(Dir, "d", "", b""), (File, "d/.wh...", "", b"")], false),
        ("whiteout through a link", vec![(Symlink, "l", outside, b""), (File, "l/.wh.victim", "", b"")], false),
        (
            "a directory over a link",
            vec![(Symlink, "l", outside, b""), (Dir, "l", "", b""), (File, "l/new", "", b"x")],
            true,
        ),
        ("a device", vec![(Char, "null", "", b"")], true),
    ];
    for (what, entries, fine) in cases {
        let bench = Bench::new();
        let real = bench.0.path().join("outside").display().to_string();
        let entries: Vec<(EntryType, String, String, &[u8])> =
            entries.iter().map(|(k, p, l, d)| (*k, p.replace('@', &real), l.replace('@', &real), *d)).collect();
        let entries: Vec<(EntryType, &str, &str, &[u8])> =
            entries.iter().map(|(k, p, l, d)| (*k, p.as_str(), l.as_str(), *d)).collect();
        let result = bench.unpack(&tar(&entries));
        bench.check_outside();
        if fine {
            assert!(result.is_ok(), "{what}: {result:?}");
        }
    }
}

#[test]
fn links_that_leave_are_resolved_inside() {
    let bench = Bench::new();
    let outside = bench.0.path().join("outside").display().to_string();
    // With the target made inside the tree, the same link is a good one.
    let inside = outside.trim_start_matches('/').to_owned();
    let entries = [
        (EntryType::Directory, inside.as_str(), "", &b""[..]),
        (EntryType::Symlink, "l", outside.as_str(), b""),
        (EntryType::Regular, "l/victim", "", b"in the tree"),
    ];
    bench.unpack(&tar(&entries)).unwrap();
    bench.check_outside();
    assert_eq!(fs::read_to_string(bench.diff().join(inside).join("victim")).unwrap(), "in the tree");
}

#[test]
fn overlay_marks_come_from_whiteouts_only() {
    let bench = Bench::new();
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_pax_extensions([
            ("SCHILY.xattr.trusted.overlay.redirect", &b"/etc"[..]),
            ("SCHILY.xattr.user.note", b"line\nfeed\0"),
            ("mtime", b"5.25"),
        ])
        .unwrap();
    builder.append(&header(EntryType::Directory, b"d", b"", 0), &b""[..]).unwrap();
    for path in ["d/.wh.gone", "o/.wh..wh..opq", ".wh..wh.plnk"] {
        builder.append(&header(EntryType::Regular, path.as_bytes(), b"", 0), &b""[..]).unwrap();
    }
    bench.unpack(&builder.into_inner().unwrap()).unwrap();
    let diff = Dir::open(&bench.diff()).unwrap();
    let keys: Vec<(OsString, Vec<u8>)> = diff.xattrs(OsStr::new("d")).unwrap();
    assert_eq!(keys, [(OsString::from("user.note"), b"line\nfeed\0".to_vec())]);
    assert_eq!(diff.stat(OsStr::new("d")).unwrap().mtime, (5, 250_000_000));
    assert!(diff.dir(OsStr::new("d")).unwrap().stat(OsStr::new("gone")).unwrap().is_whiteout());
    assert_eq!(diff.xattr(OsStr::new("o"), OsStr::new(OPAQUE_XATTR)).unwrap().as_deref(), Some(&b"y"[..]));
    assert_eq!(diff.names().unwrap(), ["d", "o"]);
}

#[test]
fn bombs_are_refused() {
    let bench = Bench::new();
    let many: Vec<(EntryType, &str, &str, &[u8])> = vec![(EntryType::Regular, "f", "", &b""[..]); 201];
    assert!(matches!(bench.unpack(&tar(&many)), Err(ImageError::LayerLimit { what: "number of entries", .. })));
    // A header that promises 8 EB, and a sparse file that claims them.
    for kind in [EntryType::Regular, EntryType::GNUSparse] {
        let bench = Bench::new();
        let mut huge = header(kind, b"huge", b"", 0);
        if let Some(gnu) = huge.as_gnu_mut() {
            gnu.set_real_size(1 << 62);
        }
        huge.set_size(if kind == EntryType::Regular { 1 << 62 } else { 0 });
        huge.set_cksum();
        assert!(bench.unpack(&[huge.as_bytes(), &[0u8; 1024][..]].concat()).is_err());
    }
    // A name of many megabytes.
    let bench = Bench::new();
    let long = header(EntryType::GNULongName, b"././@LongLink", b"", 1 << 30);
    let stream = long.as_bytes().chain(io::repeat(b'a').take(1 << 30));
    assert!(matches!(
        layer(stream, &bench.layer(), Limits { bytes_max: 1 << 40, ..LIMITS }),
        Err(ImageError::LayerLimit { .. })
    ));
    // Zeros without end behind the archive.
    let bench = Bench::new();
    let stream = io::repeat(0).take(1 << 40);
    assert!(matches!(layer(stream, &bench.layer(), LIMITS), Err(ImageError::LayerLimit { .. })));
}

#[test]
fn modes_owners_and_kinds_arrive() {
    let bench = Bench::new();
    let mut builder = tar::Builder::new(Vec::new());
    let mut setuid = header(EntryType::Regular, b"su", b"", 1);
    setuid.set_mode(0o4755);
    setuid.set_uid(1234);
    setuid.set_gid(99);
    setuid.set_cksum();
    builder.append(&setuid, &b"x"[..]).unwrap();
    builder.append(&header(EntryType::Fifo, b"pipe", b"", 0), &b""[..]).unwrap();
    builder.append(&header(EntryType::Char, b"null", b"", 0), &b""[..]).unwrap();
    builder.append(&header(EntryType::Link, b"again", b"su", 0), &b""[..]).unwrap();
    let outcome = bench.unpack(&builder.into_inner().unwrap()).unwrap();
    assert_eq!((outcome.entries, outcome.size), (4, 1));
    let su = fs::metadata(bench.diff().join("su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.nlink(), su.mtime()), (0o4755, 1234, 99, 2, 1));
    assert!(fs::metadata(bench.diff().join("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::metadata(bench.diff().join("null")).unwrap().rdev(), 0x103);
}

fn entry() -> impl Strategy<Value = (u8, String, String, Vec<u8>)> {
    let name = proptest::collection::vec(
        prop_oneof!["a", "b", "l", "\\.\\.", "\\.", "", "\\.wh\\.a", "\\.wh\\.\\.wh\\.\\.opq", "outside", "victim"],
        1..4,
    )
    .prop_map(|p| p.join("/"));
    let link = prop_oneof![
        name.clone(),
        name.clone().prop_map(|n| format!("/{n}")),
        Just("../../outside/victim".to_owned()),
        Just("../../outside".to_owned())
    ];
    (0u8..7, name, link, proptest::collection::vec(any::<u8>(), 0..600))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever a layer holds, nothing outside changes, and what was unpacked can be put together again.
    #[test]
    fn any_layer_stays_inside_and_is_reproducible(entries in proptest::collection::vec(entry(), 0..12)) {
        let bench = Bench::new();
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, path, link, data) in &entries {
            let kind = [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link, EntryType::Fifo, EntryType::Char, EntryType::Regular][usize::from(*kind)];
            let data: &[u8] = if kind == EntryType::Regular { data } else { b"" };
            builder.append(&header(kind, path.as_bytes(), link.as_bytes(), data.len() as u64), data).unwrap();
        }
        let tar = builder.into_inner().unwrap();
        let unpacked = bench.unpack(&tar);
        bench.check_outside();
        if let Ok(outcome) = unpacked {
            let mut again = Vec::new();
            match crate::layer::recipe::assemble(&bench.layer(), &crate::digest::sha256(&tar), &outcome.moved, &mut again) {
                Ok(()) => prop_assert_eq!(again, tar),
                // A file that was written through a link and replaced under its other name is the one thing that is lost,
                // and it is noticed.
                Err(e) => prop_assert!(entries.iter().any(|e| e.0 == 2 || e.0 == 3), "{}", e),
            }
        }
    }

    /// Noise never panics.
    #[test]
    fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let bench = Bench::new();
        bench.unpack(&noise).ok();
        bench.check_outside();
    }

    /// A good archive with broken bytes never panics and never leaves.
    #[test]
    fn broken_bytes_are_survived(at in 0usize..2048, bytes in proptest::collection::vec(any::<u8>(), 1..16)) {
        let bench = Bench::new();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("path", &b"dir/file"[..])]).unwrap();
        builder.append(&header(EntryType::Regular, b"x", b"", 5), &b"hello"[..]).unwrap();
        let mut tar = builder.into_inner().unwrap();
        for (i, b) in bytes.iter().enumerate() {
            if let Some(place) = tar.get_mut(at + i) { *place = *b; }
        }
        bench.unpack(&tar).ok();
        bench.check_outside();
    }
}
