//! What builds do with trees: contexts that want to escape, copying, the cache, squashing, packed layers.
#![allow(missing_docs)]
mod support;
use images::build::{BuildStep, Change, Copy, Part, SourceTree};
use images::{Images, Platform, RunConfig};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};
use support::*;
use tar::EntryType;

fn rt() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn config(cmd: &str) -> RunConfig {
    RunConfig { cmd: Some(vec![cmd.to_owned()]), ..RunConfig::default() }
}

fn step(parent: Option<&str>, change: Change, cmd: &str) -> BuildStep {
    BuildStep {
        parent: parent.map(str::to_owned),
        platform: Platform::host(),
        change,
        config: RunConfig::default(),
        container_config: config(cmd),
        author: String::new(),
    }
}

async fn context(images: &Images, tar: Vec<u8>) -> SourceTree {
    SourceTree::Context(images.build_context(Cursor::new(tar)).await.unwrap())
}

struct Wish<'a> {
    sources: &'a [&'a str],
    to: &'a str,
    chown: &'a str,
    keep: bool,
    extract: bool,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self { sources: &[], to: "/", chown: "", keep: false, extract: false }
    }
}

async fn copy(
    images: &Images,
    on: Option<&str>,
    from: &SourceTree,
    wish: Wish<'_>,
) -> Result<String, images::ImageError> {
    let patterns = wish.sources.iter().map(|s| (*s).to_owned()).collect();
    let found = images.find_sources(from.clone(), patterns).await?;
    let parts = vec![Part { from: from.clone(), found, extract: wish.extract }];
    let copy = Copy { parts, destination: wish.to.into(), chown: wish.chown.into(), keep_owners: wish.keep };
    images.build_step(step(on, Change::Copy(copy), "copy")).await
}

/// All files of an image with their content (or target, or `/`).
async fn files(images: &Images, id: &str) -> BTreeMap<String, String> {
    let container = format!("look-{}", &id[7..15]);
    images.rootfs(&container, id).await.unwrap();
    let tar = collect(|out| images.export(&container, out)).await;
    images.remove_rootfs(&container).await.unwrap();
    let mut all = BTreeMap::new();
    for entry in tar::Archive::new(Cursor::new(tar)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let kind = entry.header().entry_type();
        let mut text = String::new();
        match kind {
            EntryType::Directory => text.push('/'),
            EntryType::Symlink => text = format!("-> {}", entry.link_name().unwrap().unwrap().display()),
            _ => drop(entry.read_to_string(&mut text)),
        }
        all.insert(path.trim_end_matches('/').to_owned(), text);
    }
    all
}

#[test]
fn a_hostile_context_stays_inside() {
    let home = Home::new();
    let outside = home.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    let up = "../".repeat(12);
    let real = outside.display().to_string();
    rt().block_on(async {
        let images = home.open().await;
        let cases: Vec<(&str, Tar)> = vec![
            ("dots", Tar::new().file(&format!("{up}outside/new"), "x")),
            ("dots in the middle", Tar::new().dir("a/").file("a/../../new", "x")),
            ("through a link", Tar::new().symlink("l", &real).file("l/new", "x")),
            ("over a link", Tar::new().symlink("l", &format!("{real}/victim")).file("l", "x")),
            ("hard link", Tar::new().link("h", &format!("{up}{real}/victim"))),
            ("absolute hard link, then write", Tar::new().link("h", &format!("{real}/victim")).file("h", "x")),
        ];
        for (what, tar) in cases {
            // Refused, or taken inside; never outside.
            drop(images.build_context(Cursor::new(tar.bytes())).await);
            let left: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(left, ["victim"], "{what}");
            assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "untouched", "{what}");
            assert_eq!(fs::metadata(outside.join("victim")).unwrap().nlink(), 1, "{what}");
        }
        // Dots that lead above the context lead nowhere, as they do for Docker.
        let above = images.build_context(Cursor::new(Tar::new().file("../a", "x").bytes())).await.unwrap();
        assert_eq!(above.read("a").unwrap(), Some(b"x".to_vec()));
        // What is read through links is read inside, too.
        let tar = Tar::new().symlink("l", &real).symlink("f", &format!("{real}/victim")).symlink("up", &up).bytes();
        let from = context(&images, tar).await;
        for path in ["l/victim", "f", "up/etc/passwd", "../x", "a/../../x", "/../../etc/passwd"] {
            let found = images.find_sources(from.clone(), vec![path.to_owned()]).await;
            assert!(found.is_err(), "{path}: {found:?}");
        }
        let SourceTree::Context(context) = &from else { panic!() };
        assert_eq!(context.read("f").unwrap(), None, "the Dockerfile is not somebody else's file");
        // Staged files of strangers are nobody's business.
        let staging = home.root().join("staging");
        let mode = fs::read_dir(staging).unwrap().next().unwrap().unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    });
}

#[test]
fn a_target_in_the_image_stays_inside() {
    let home = Home::new();
    let outside = home.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let real = outside.display().to_string();
    rt().block_on(async {
        let images = home.open().await;
        let base = Tar::new().symlink("l", &real).symlink("up", &"../".repeat(12)).bytes();
        let base = import(&images, base, "base").await;
        let from = context(&images, Tar::new().file("a", "1").bytes()).await;
        for to in ["/l/", "/l/b", "/up/outside/", "/../../../b", "/l/../../x/"] {
            drop(copy(&images, Some(&base), &from, Wish { sources: &["a"], to, ..Wish::default() }).await);
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{to}");
        }
    });
}

#[test]
fn copying_puts_things_where_docker_puts_them() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let base = Tar::new()
            .dir("etc/")
            .file("etc/passwd", "root:x:0:0\nu:x:5:6\n")
            .file("etc/group", "g:x:7:\nu:x:6:\n")
            .dir("there/")
            .symlink("way", "there")
            .bytes();
        let base = import(&images, base, "base").await;
        let tar = Tar::new()
            .file("a.txt", "a")
            .file("b.txt", "b")
            .dir("d/")
            .file("d/x", "x")
            .symlink("d/s", "x")
            .symlink("s", "d/x")
            .bytes();
        let from = context(&images, tar).await;
        type Case<'a> = (&'a [&'a str], &'a str, &'a [(&'a str, &'a str)]);
        let cases: &[Case<'_>] = &[
            (&["a.txt"], "/new", &[("new", "a")]),
            (&["a.txt"], "/new/", &[("new/a.txt", "a")]),
            (&["a.txt"], "/there", &[("there/a.txt", "a")]),
            (&["a.txt"], "/way", &[("there/a.txt", "a"), ("way", "-> there")]),
            (&["a.txt"], "/deep/er/name", &[("deep/er/name", "a")]),
            (&["d"], "/new", &[("new/x", "x"), ("new/s", "-> x")]),
            (&["d/"], "/there/", &[("there/x", "x")]),
            (&["*.txt"], "/t/", &[("t/a.txt", "a"), ("t/b.txt", "b")]),
            (&["s"], "/t/", &[("t/s", "x")]),
            (&["."], "/all/", &[("all/a.txt", "a"), ("all/d/x", "x"), ("all/s", "-> d/x")]),
        ];
        for (sources, to, expected) in cases {
            let id = copy(&images, Some(&base), &from, Wish { sources, to, ..Wish::default() }).await.unwrap();
            let all = files(&images, &id).await;
            for (path, content) in *expected {
                // A single link is followed when it is copied, and has the name of what it leads to or its own.
                let seen = all.get(*path).or_else(|| all.get(&path.replace("t/s", "t/x")));
                assert_eq!(seen.map(String::as_str), Some(*content), "{sources:?} to {to}: {path} in {all:?}");
            }
        }
        for (sources, why) in [
            (
                &["none"][..],
                "file not found in build context or excluded by .dockerignore: stat none: file does not exist",
            ),
            (&["*.none"], "no source files were specified"),
            (&["../a.txt"], "forbidden path outside the build context: ../a.txt ()"),
        ] {
            let said = copy(&images, None, &from, Wish { sources, ..Wish::default() }).await.unwrap_err().to_string();
            assert_eq!(said, why);
        }
        for (chown, owner) in
            [("u:g", Ok((5, 7))), ("u", Ok((5, 6))), ("12", Ok((12, 12))), ("1:2", Ok((1, 2))), ("x", Err(()))]
        {
            let wish = Wish { sources: &["a.txt"], to: "/n/f", chown, ..Wish::default() };
            let made = copy(&images, Some(&base), &from, wish).await;
            let Ok(owner) = owner else {
                assert!(made.unwrap_err().to_string().contains("no such user: x"));
                continue;
            };
            let rootfs = images.rootfs("own", &made.unwrap()).await.unwrap();
            for path in ["n", "n/f"] {
                let meta = fs::metadata(rootfs.merged.join(path)).unwrap();
                assert_eq!((meta.uid(), meta.gid()), owner, "{chown} {path}");
            }
            images.remove_rootfs("own").await.unwrap();
        }
    });
}

fn packed(kind: &str, tar: &[u8]) -> Vec<u8> {
    match kind {
        "gzip" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(tar).unwrap();
            out.finish().unwrap()
        }
        "bzip2" => {
            let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            out.write_all(tar).unwrap();
            out.finish().unwrap()
        }
        "xz" => {
            let options = lzma_rust2::XzOptions::with_preset(1);
            let mut out = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            out.write_all(tar).unwrap();
            out.finish().unwrap()
        }
        "zstd" => zstd::encode_all(tar, 1).unwrap(),
        _ => tar.to_vec(),
    }
}

const PACKINGS: [&str; 5] = ["plain", "gzip", "bzip2", "xz", "zstd"];

#[test]
fn archives_are_unpacked_however_they_are_packed() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        for kind in PACKINGS {
            let inner = packed(kind, &Tar::new().dir("in/").file("in/f", kind).bytes());
            let mut header = header(EntryType::Regular, "a.tar", "", 0o644, inner.len() as u64);
            header.set_cksum();
            let outer = Tar::new().raw(header, &inner).file("text", "no archive").bytes();
            let from = context(&images, packed(kind, &outer)).await;
            let add = |extract| Wish { sources: &["a.tar", "text"], to: "/to/", extract, ..Wish::default() };
            let id = copy(&images, None, &from, add(true)).await.unwrap();
            let all = files(&images, &id).await;
            assert_eq!((all["to/in/f"].as_str(), all["to/text"].as_str()), (kind, "no archive"));
            let id = copy(&images, None, &from, add(false)).await.unwrap();
            assert!(files(&images, &id).await.contains_key("to/a.tar"), "{kind}");
        }
    });
}

#[test]
fn layers_are_taken_however_they_are_packed() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        for kind in PACKINGS {
            let tar = Tar::new().file("f", kind).bytes();
            let id = import(&images, packed(kind, &tar), kind).await;
            assert_eq!(files(&images, &id).await["f"], kind);
            assert_eq!(
                images.get(&id).unwrap().layers,
                [images::digest::sha256(&tar)],
                "{kind}: the digest is the tar's"
            );
        }
        // Cut off, or damaged in the middle: said so, and nothing is half there.
        let before = images.list().len();
        for kind in PACKINGS {
            let whole = packed(kind, &Tar::new().file("f", &"content ".repeat(9000)).bytes());
            let mut bent = whole.clone();
            let middle = bent.len() / 2;
            bent[middle] ^= 0xff;
            for (what, bad) in [("cut", whole[..middle].to_vec()), ("bent", bent)] {
                if (kind, what) == ("plain", "bent") {
                    // Without a checksum nobody can know.
                    continue;
                }
                let made = images.import(Cursor::new(bad), Some(name("bad")), vec![], String::new(), None).await;
                assert!(made.is_err(), "{kind} {what}");
            }
        }
        assert_eq!(images.list().len(), before);
        assert_eq!(fs::read_dir(home.root().join("staging")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(home.root().join("layers")).unwrap().count(), before);
    });
}

#[test]
fn a_packed_bomb_is_refused() {
    let home = Home::new();
    rt().block_on(async {
        let limits = images::Limits { bytes_max: 1 << 20, entries_max: 100 };
        let images = Images::open_with(home.root(), limits).await.unwrap();
        let big = Tar::new().file("zeros", &"\0".repeat(64 << 20)).bytes();
        for kind in ["gzip", "bzip2", "xz", "zstd"] {
            let bomb = packed(kind, &big);
            assert!(bomb.len() < 1 << 20, "{kind}: {}", bomb.len());
            let said = images.build_context(Cursor::new(bomb.clone())).await.unwrap_err().to_string();
            assert!(said.contains("exceeds the limit"), "{kind}: {said}");
            let said =
                images.import(Cursor::new(bomb), None, vec![], String::new(), None).await.unwrap_err().to_string();
            assert!(said.contains("exceeds the limit"), "{kind}: {said}");
        }
    });
}

#[test]
fn a_step_that_was_made_before_is_found() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let base = import(&images, busybox_like(), "base").await;
        let one = images.build_step(step(Some(&base), Change::None, "ENV a=1")).await.unwrap();
        let two = images.build_step(step(Some(&one), Change::Directory("/w".into()), "WORKDIR /w")).await.unwrap();
        let probe =
            |parent: &str, cmd: &str| images.cached_step(Some(parent.to_owned()), config(cmd), Platform::host());
        assert_eq!(probe(&base, "ENV a=1").await.unwrap(), Some(one.clone()));
        assert_eq!(probe(&one, "WORKDIR /w").await.unwrap(), Some(two.clone()));
        assert_eq!(probe(&base, "WORKDIR /w").await.unwrap(), None);
        assert_eq!(probe(&base, "ENV a=2").await.unwrap(), None);
        let image = images.get(&two).unwrap();
        assert_eq!(image.parent.as_deref(), Some(one.as_str()));
        assert_eq!(image.layers.len(), 2, "the directory is a layer, the variable is none");
        let again = images.build_step(step(Some(&two), Change::Directory("/w".into()), "again")).await.unwrap();
        assert_eq!(images.get(&again).unwrap().layers.len(), 2, "a directory that is there makes no layer");

        // An archive may say anything of itself; only what was built here is believed.
        images.tag(&two, name("built:1")).await.unwrap();
        let saved = collect(|out| images.save(vec!["built:1".into()], out)).await;
        let other = Home::new();
        let elsewhere = other.open().await;
        elsewhere.load(Cursor::new(saved)).await.unwrap();
        let base_there = import(&elsewhere, busybox_like(), "base").await;
        let from = |sources: Vec<String>| {
            elsewhere.cached_from(Some(base_there.clone()), config("ENV a=1"), Platform::host(), sources)
        };
        assert_eq!(elsewhere.cached_step(None, config("ENV a=1"), Platform::host()).await.unwrap(), None);
        // Its base was imported at another time, so its history is another one.
        assert_eq!(from(vec![two.clone()]).await.unwrap(), None);
        assert_eq!(from(vec![]).await.unwrap(), None);
        let reopened = home.open().await;
        assert_eq!(reopened.cached_step(Some(base), config("ENV a=1"), Platform::host()).await.unwrap(), Some(one));
    });
}

#[test]
fn another_images_history_can_stand_in() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let one = images.build_step(step(None, Change::Directory("/w".into()), "WORKDIR /w")).await.unwrap();
        let two = images.build_step(step(Some(&one), Change::None, "ENV a=1")).await.unwrap();
        images.tag(&two, name("built:1")).await.unwrap();
        let saved = collect(|out| images.save(vec!["built:1".into()], out)).await;
        let other = Home::new();
        let there = other.open().await;
        there.load(Cursor::new(saved)).await.unwrap();
        let sources = vec![two.clone()];
        let probe = |parent: Option<String>, cmd: &str| {
            there.cached_from(parent, config(cmd), Platform::host(), sources.clone())
        };
        let (first, only) = probe(None, "WORKDIR /w").await.unwrap().unwrap();
        assert_eq!(only.as_deref(), Some(two.as_str()));
        assert_eq!(there.get(&first).unwrap().layers.len(), 1);
        assert_eq!(probe(Some(first), "ENV a=1").await.unwrap(), Some((two, None)));
        assert_eq!(probe(None, "ENV a=1").await.unwrap(), None);
    });
}

#[test]
fn squashed_layers_do_the_same() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let base = Tar::new().dir("d/").file("d/old", "old").file("d/gone", "x").dir("e/").file("e/y", "y").bytes();
        let base = import(&images, base, "base").await;
        // One container after the other, each changing what the one before left.
        let mut last = base.clone();
        type Work<'a> = &'a dyn Fn(&Path);
        let works: [Work<'_>; 3] = [
            &|root| {
                fs::remove_file(root.join("d/gone")).unwrap();
                fs::write(root.join("d/new"), "1").unwrap();
                fs::create_dir(root.join("n")).unwrap();
                fs::write(root.join("n/f"), "f").unwrap();
            },
            &|root| {
                fs::write(root.join("d/new"), "22").unwrap();
                fs::remove_dir_all(root.join("e")).unwrap();
                fs::create_dir(root.join("e")).unwrap();
                fs::write(root.join("e/z"), "z").unwrap();
            },
            &|root| {
                fs::remove_dir_all(root.join("n")).unwrap();
                fs::write(root.join("e/zz"), "zz").unwrap();
            },
        ];
        for (n, work) in works.iter().enumerate() {
            let container = format!("c{n}");
            let rootfs = images.rootfs(&container, &last).await.unwrap();
            work(&rootfs.merged);
            images.unmount(&container).await.unwrap();
            last = images.build_step(step(Some(&last), Change::Container(container.clone()), "run")).await.unwrap();
            images.remove_rootfs(&container).await.unwrap();
        }
        let squashed = images.squash(last.clone(), Some(base.clone())).await.unwrap();
        assert_eq!(images.get(&last).unwrap().layers.len(), 4);
        assert_eq!(images.get(&squashed).unwrap().layers.len(), 2);
        let all = files(&images, &squashed).await;
        assert_eq!(all, files(&images, &last).await);
        assert_eq!((all["d/new"].as_str(), all.get("e/y"), all.get("n")), ("22", None, None));
        assert_eq!(images.squash(base.clone(), Some(base.clone())).await.unwrap(), base);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any bytes as a context: taken or refused, and nothing stays.
    #[test]
    fn any_context_is_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..1500), tar_like in any::<bool>()) {
        let home = Home::new();
        rt().block_on(async {
            let images = home.open().await;
            if tar_like && bytes.len() >= 512 {
                let mut header = header(EntryType::Regular, "f", "", 0o644, 100);
                let n = bytes[0] as usize;
                header.as_mut_bytes()[n % 500] = bytes[1];
                header.set_cksum();
                bytes[..512].copy_from_slice(header.as_bytes());
            }
            if let Ok(context) = images.build_context(Cursor::new(bytes)).await {
                images.find_sources(SourceTree::Context(context), vec!["*".into()]).await.ok();
            }
            assert_eq!(fs::read_dir(home.root().join("staging")).unwrap().count(), 0);
        });
    }
}
