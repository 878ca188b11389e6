//! The store from the outside: import, load, save, names, removal, root filesystems, reopening.
#![allow(missing_docs)]
mod support;
use images::{ChangeKind, CommitSpec, ContainerUse, CopyOptions, Images, PruneFilter, Removed};
use std::{
    collections::HashMap,
    fs,
    io::{Cursor, Read},
    os::unix::fs::MetadataExt,
    sync::Arc,
};
use support::*;

type T = tokio::runtime::Runtime;
fn rt() -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn import_mount_change_commit_and_reopen() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let id = import(&images, busybox_like(), "busybox").await;
        let image = images.get("busybox").unwrap();
        assert_eq!((image.id.as_str(), &image.repo_tags[..]), (id.as_str(), &["busybox:latest".to_owned()][..]));
        assert_eq!(image.config.config.cmd.as_deref(), Some(&["/bin/sh".to_owned()][..]));
        assert_eq!(images.get(&id[7..17]).unwrap().id, id);
        assert_eq!(images.get("nothing").unwrap_err().to_string(), "No such image: nothing:latest");
        assert_eq!(image.size, 2 + 11);

        let rootfs = images.rootfs("c1", &id).await.unwrap();
        assert_eq!(fs::read_to_string(rootfs.merged.join("etc/passwd")).unwrap(), "root:x:0:0\n");
        assert!(rootfs.merged.join("etc/hosts").exists(), "mount points are there");
        assert_eq!(images.changes("c1").await.unwrap(), vec![], "and are no change");
        fs::write(rootfs.merged.join("etc/new"), "n").unwrap();
        fs::write(rootfs.merged.join("etc/passwd"), "changed").unwrap();
        fs::remove_file(rootfs.merged.join("bin/sh")).unwrap();
        fs::create_dir(rootfs.merged.join("data")).unwrap();
        let changes: Vec<(String, ChangeKind)> =
            images.changes("c1").await.unwrap().into_iter().map(|c| (c.path, c.kind)).collect();
        let expected = [
            ("/bin", ChangeKind::Modified),
            ("/bin/sh", ChangeKind::Deleted),
            ("/data", ChangeKind::Added),
            ("/etc", ChangeKind::Modified),
            ("/etc/new", ChangeKind::Added),
            ("/etc/passwd", ChangeKind::Modified),
        ];
        assert_eq!(changes, expected.map(|(p, k)| (p.to_owned(), k)));

        let spec = CommitSpec {
            container_id: "c1".into(),
            image_id: id.clone(),
            config: image.config.config.clone(),
            changes: vec!["ENV A=b".into(), "EXPOSE 80".into()],
            comment: "done".into(),
            reference: Some(name("mine:1")),
            ..CommitSpec::default()
        };
        let child = images.commit(spec).await.unwrap();
        let committed = images.get("mine:1").unwrap();
        assert_eq!((committed.layers.len(), committed.parent.as_deref()), (2, Some(id.as_str())));
        assert_eq!(committed.config.config.env, ["A=b"]);
        images.unmount("c1").await.unwrap();
        drop(images);

        let images = home.open().await;
        assert_eq!(images.damaged(), Vec::<String>::new());
        let rootfs = images.rootfs("c1", "ignored: it exists").await.unwrap();
        assert_eq!(fs::read_to_string(rootfs.merged.join("etc/new")).unwrap(), "n", "what a container wrote survives");
        let second = images.rootfs("c2", &child).await.unwrap();
        assert!(!second.merged.join("bin/sh").exists());
        assert_eq!(fs::read_to_string(second.merged.join("etc/passwd")).unwrap(), "changed");
        assert_eq!(
            images.history("mine:1").unwrap().iter().map(|h| h.comment.as_str()).collect::<Vec<_>>(),
            ["done", "Imported from -"]
        );

        // A container keeps the layers of an image that is removed by force.
        let uses = vec![ContainerUse { container_id: "c2".into(), image_id: child.clone(), running: false }];
        images.remove(&child, true, false, uses).await.unwrap();
        assert!(second.merged.join("etc/passwd").exists());
        for c in ["c1", "c2"] {
            images.remove_rootfs(c).await.unwrap();
            images.remove_rootfs(c).await.unwrap();
        }
        images.remove("busybox", false, false, vec![]).await.unwrap();
        assert_eq!(fs::read_dir(home.root().join("layers")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(home.root().join("blobs/sha256")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(home.root().join("staging")).unwrap().count(), 0);
    });
}

/// Of a layer that came compressed nobody knows how long its tar is, until it is saved for the first time.
#[test]
fn an_image_that_came_compressed_can_be_saved() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &busybox_like()).unwrap();
        import(&images, packed.finish().unwrap(), "packed").await;
        for _ in 0..2 {
            let archive = collect(|out| {
                let images = images.clone();
                async move { images.save(vec!["packed".into()], out).await }
            });
            let archive = tokio::time::timeout(std::time::Duration::from_secs(60), archive).await;
            assert!(archive.expect("saving holds no lock that it waits for").len() > 1024);
        }
    });
}

#[test]
fn save_and_load_keep_ids_and_names() {
    let (home, other) = (Home::new(), Home::new());
    rt().block_on(async {
        let images = home.open().await;
        // A file that is replaced within its own layer, one that is replaced as a directory's child, and an odd name.
        let long = "d/".to_owned() + &"n".repeat(90);
        let tar = Tar::new()
            .dir("d/")
            .file("d/a", "first")
            .file("d/a", "second")
            .file(&long, "x")
            .file("gone", "was a file")
            .dir("gone/")
            .file("gone/in", "y")
            .dir("e/")
            .file("e/f", "lost with its directory")
            .file("e", "now a file")
            .file("big", &"z".repeat(700_000))
            .link("hard", "big")
            .bytes();
        let a = import(&images, tar, "a:1").await;
        images.tag("a:1", name("localhost:5000/x/a")).await.unwrap();
        let b = import(&images, busybox_like(), "b").await;
        let archive = collect(|out| {
            let images = images.clone();
            async move { images.save(vec!["a:1".into(), "b".into()], out).await }
        })
        .await;
        let theirs = other.open().await;
        let said = theirs.load(Cursor::new(archive.clone())).await.unwrap();
        let mut sorted = said.clone();
        sorted.sort();
        assert_eq!(sorted, ["Loaded image: a:1\n", "Loaded image: b:latest\n"]);
        assert_eq!((theirs.get("a:1").unwrap().id.clone(), theirs.get("b").unwrap().id.clone()), (a.clone(), b));
        let rootfs = theirs.rootfs("c", "a:1").await.unwrap();
        assert_eq!(fs::read_to_string(rootfs.merged.join("d/a")).unwrap(), "second");
        assert_eq!(fs::read_to_string(rootfs.merged.join("gone/in")).unwrap(), "y");
        assert_eq!(fs::read_to_string(rootfs.merged.join("e")).unwrap(), "now a file");
        assert_eq!(
            fs::metadata(rootfs.merged.join("hard")).unwrap().ino(),
            fs::metadata(rootfs.merged.join("big")).unwrap().ino()
        );
        assert_eq!(fs::metadata(rootfs.merged.join("d/a")).unwrap().mtime(), 1_700_000_000);
        theirs.remove_rootfs("c").await.unwrap();

        // By id: no names. Loaded again: nothing new.
        let by_id = collect(|out| {
            let (images, a) = (images.clone(), a.clone());
            async move { images.save(vec![a], out).await }
        })
        .await;
        assert_eq!(theirs.load(Cursor::new(by_id)).await.unwrap(), [format!("Loaded image ID: {a}\n")]);

        // The OCI half alone loads too, compressed as well.
        let mut oci = tar::Builder::new(Vec::new());
        for entry in tar::Archive::new(Cursor::new(&archive)).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            if path != "manifest.json" && path != "repositories" {
                let (header, mut data) = (entry.header().clone(), Vec::new());
                entry.read_to_end(&mut data).unwrap();
                oci.append(&header, Cursor::new(data)).unwrap();
            }
        }
        let packed = zstd::encode_all(Cursor::new(oci.into_inner().unwrap()), 1).unwrap();
        let third = Home::new();
        let layout = third.open().await;
        let mut said = layout.load(Cursor::new(packed)).await.unwrap();
        said.sort();
        assert_eq!(said, ["Loaded image: a:1\n", "Loaded image: b:latest\n"]);
        assert_eq!(layout.get("a:1").unwrap().id, a);
    });
}

#[test]
fn a_layer_that_comes_twice_at_once_is_there_once() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let tar = Tar::new().file("f", &"content ".repeat(100_000)).bytes();
        let gz = {
            use std::io::Write;
            let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            e.write_all(&tar).unwrap();
            e.finish().unwrap()
        };
        let mut work = Vec::new();
        for n in 0..6 {
            let (images, data) = (images.clone(), if n % 2 == 0 { tar.clone() } else { gz.clone() });
            work.push(tokio::spawn(async move { import(&images, data, &format!("same:{n}")).await }));
        }
        for w in work {
            w.await.unwrap();
        }
        let layers: std::collections::BTreeSet<String> = images.list().iter().flat_map(|i| i.layers.clone()).collect();
        assert_eq!((images.list().len(), layers.len()), (6, 1));
        assert_eq!(fs::read_dir(home.root().join("layers")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(home.root().join("staging")).unwrap().count(), 0);
        assert_eq!(images.usage().images[0].shared_size, 800_000);
    });
}

#[test]
fn removal_follows_dockers_rules() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let id = import(&images, busybox_like(), "one:1").await;
        images.tag("one:1", name("two:2")).await.unwrap();
        let container = "0123456789abcdef".to_owned();
        let running = vec![ContainerUse { container_id: container.clone(), image_id: id.clone(), running: true }];
        let stopped = vec![ContainerUse { running: false, ..running[0].clone() }];
        let short = &id[7..19];
        let refused = |r: Result<Vec<Removed>, images::ImageError>| r.unwrap_err().to_string();
        assert_eq!(refused(images.remove(short, false, false, vec![]).await),
            format!("conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"));
        assert_eq!(images.remove("two:2", false, false, running.clone()).await.unwrap(), [Removed::Untagged("two:2".into())]);
        assert_eq!(refused(images.remove("one:1", false, false, stopped.clone()).await),
            format!("conflict: unable to remove repository reference \"one:1\" (must force) - container 0123456789ab is using its referenced image {short}"));
        assert_eq!(refused(images.remove(short, true, false, running.clone()).await),
            format!("conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"));
        assert_eq!(refused(images.remove(short, false, false, stopped.clone()).await),
            format!("conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"));
        let layer = images.get("one:1").unwrap().layers[0].clone();
        assert_eq!(images.remove(&id, true, false, stopped).await.unwrap(),
            [Removed::Untagged("one:1".into()), Removed::Deleted(id.clone()), Removed::Deleted(layer)]);
        assert_eq!(refused(images.remove("one:1", false, false, vec![]).await), "No such image: one:1");

        // A name that moves leaves a dangling image, which prune takes.
        let old = import(&images, busybox_like(), "moving").await;
        let new = import(&images, Tar::new().file("x", "y").bytes(), "moving").await;
        assert!(images.get(&old).unwrap().is_dangling());
        let pruned = images.prune(PruneFilter::default(), vec![]).await.unwrap();
        assert_eq!(pruned.removed[0], Removed::Deleted(old));
        assert_eq!(pruned.space_reclaimed, 13);
        assert_eq!(images.get("moving").unwrap().id, new);
    });
}

#[test]
fn a_damaged_entry_takes_nothing_else_with_it() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let bad = import(&images, busybox_like(), "bad").await;
        import(&images, Tar::new().file("x", "y").bytes(), "good").await;
        drop(images);
        fs::write(home.root().join("images").join(format!("{}.json", &bad[7..])), "{half").unwrap();
        fs::create_dir(home.root().join("staging/left-over")).unwrap();
        let images = home.open().await;
        assert_eq!(images.damaged().len(), 1);
        assert!(images.damaged()[0].contains(&bad[7..]));
        assert!(images.get("good").is_ok() && images.get("bad").is_err());
        assert_eq!(fs::read_dir(home.root().join("staging")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(home.root().join("layers")).unwrap().count(), 2, "its layer may be wanted again");
        // Coming again repairs it.
        assert_ne!(import(&images, busybox_like(), "bad").await, "");
        assert!(images.get("bad").is_ok());
    });
}

#[test]
fn cp_stays_inside_and_says_what_docker_says() {
    let home = Home::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    rt().block_on(async {
        let images = home.open().await;
        import(
            &images,
            Tar::new()
                .dir("d/")
                .file("d/f", "data")
                .symlink("d/l", "f")
                .symlink("esc", &outside.path().display().to_string())
                .symlink("up", "../../../..")
                .bytes(),
            "i",
        )
        .await;
        images.rootfs("c", "i").await.unwrap();
        images.unmount("c").await.unwrap();
        let stat = images.stat_path("c", "/d/f").await.unwrap();
        assert_eq!((stat.name.as_str(), stat.size, stat.mode & 0o777), ("f", 4, 0o644));
        let stat = images.stat_path("c", "/d/l").await.unwrap();
        assert_eq!((stat.link_target.as_str(), stat.go_mode >> 27 & 1), ("/d/f", 1));
        assert_eq!(
            images.stat_path("c", "/none").await.unwrap_err().to_string(),
            "Could not find the file /none in container c"
        );
        assert!(images.stat_path("c", "/esc/secret").await.is_err());
        assert!(images.stat_path("c", "/up/d/f").await.is_ok(), "dots end at the root");
        let list = |bytes: Vec<u8>| -> Vec<String> {
            tar::Archive::new(Cursor::new(bytes))
                .entries()
                .unwrap()
                .map(|e| e.unwrap().path().unwrap().display().to_string())
                .collect()
        };
        let out = |path: &'static str| {
            let images = images.clone();
            async move { collect(|out| async move { images.copy_out("c", path, out).await }).await }
        };
        assert_eq!(list(out("/d").await), ["d/", "d/f", "d/l"]);
        assert_eq!(list(out("/d/.").await), ["./", "./f", "./l"]);
        assert_eq!(list(out("/d/f").await), ["f"]);
        let put = |path: &'static str, tar: Vec<u8>, options| {
            let images = images.clone();
            async move { images.copy_in("c", path, Cursor::new(tar), options).await }
        };
        put("/d", Tar::new().file("new", "n").bytes(), CopyOptions::default()).await.unwrap();
        assert_eq!(
            put("/d/f", Tar::new().bytes(), CopyOptions::default()).await.unwrap_err().to_string(),
            "extraction point is not a directory"
        );
        let strict = CopyOptions { no_overwrite_dir_non_dir: true, owner: Some((5, 6)) };
        assert!(
            put("/", Tar::new().file("d", "n").bytes(), strict)
                .await
                .unwrap_err()
                .to_string()
                .starts_with("cannot overwrite directory")
        );
        put("/d", Tar::new().file("owned", "n").bytes(), strict).await.unwrap();
        // Through a link to the outside: lands inside, or nowhere.
        put("/", Tar::new().file("esc/planted", "n").bytes(), CopyOptions::default()).await.ok();
        assert!(!outside.path().join("planted").exists());
        let rootfs = images.rootfs("c", "i").await.unwrap();
        assert_eq!(fs::metadata(rootfs.merged.join("d/owned")).unwrap().uid(), 5);
        assert_eq!(fs::read_to_string(rootfs.merged.join("d/new")).unwrap(), "n");
        let all = list(
            collect(|out| {
                let images = images.clone();
                async move { images.export("c", out).await }
            })
            .await,
        );
        assert!(all.contains(&"d/f".to_owned()) && all.contains(&"etc/hosts".to_owned()));
        images.remove_rootfs("c").await.unwrap();
    });
}

#[test]
fn many_layers_can_be_mounted() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let mut id = import(&images, Tar::new().file("l0", "").bytes(), "deep:0").await;
        // 124 layers on top of the first: the most that Docker allows.
        for n in 1..images::config::LAYERS_MAX {
            let rootfs = images.rootfs("c", &id).await.unwrap();
            fs::write(rootfs.merged.join(format!("l{n}")), "").unwrap();
            let spec = CommitSpec { container_id: "c".into(), image_id: id.clone(), ..CommitSpec::default() };
            id = images.commit(spec).await.unwrap();
            images.remove_rootfs("c").await.unwrap();
        }
        let rootfs = images.rootfs("c", &id).await.unwrap();
        let seen = (0..images::config::LAYERS_MAX).filter(|n| rootfs.merged.join(format!("l{n}")).exists()).count();
        assert_eq!(seen, images::config::LAYERS_MAX);
        fs::write(rootfs.merged.join("one-more"), "").unwrap();
        let spec = CommitSpec { container_id: "c".into(), image_id: id.clone(), ..CommitSpec::default() };
        assert_eq!(images.commit(spec).await.unwrap_err().to_string(), "max depth exceeded");
        images.remove_rootfs("c").await.unwrap();
    });
}

#[test]
fn whiteouts_of_a_loaded_layer_hide_what_is_below() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let base = Tar::new().dir("d/").file("d/a", "a").file("d/b", "b").dir("o/").file("o/x", "x").bytes();
        let top =
            Tar::new().dir("d/").file("d/.wh.a", "").dir("o/").file("o/.wh..wh..opq", "").file("o/y", "y").bytes();
        let archive = docker_archive(&[base, top], "layered:1");
        images.load(Cursor::new(archive)).await.unwrap();
        let rootfs = images.rootfs("c", "layered:1").await.unwrap();
        let there = |p: &str| rootfs.merged.join(p).exists();
        assert_eq!(["d/a", "d/b", "o/x", "o/y"].map(there), [false, true, false, true]);
        // Replaced as a whole by the container: the old content is deleted, not merged.
        fs::remove_dir_all(rootfs.merged.join("d")).unwrap();
        fs::create_dir(rootfs.merged.join("d")).unwrap();
        let changes: HashMap<String, ChangeKind> =
            images.changes("c").await.unwrap().into_iter().map(|c| (c.path, c.kind)).collect();
        assert_eq!(changes.get("/d/b"), Some(&ChangeKind::Deleted));
        assert_eq!(changes.get("/d/a"), None);
        images.remove_rootfs("c").await.unwrap();
    });
}

#[test]
fn a_wrong_digest_is_not_loaded() {
    let home = Home::new();
    rt().block_on(async {
        let images = home.open().await;
        let mut archive = docker_archive(&[Tar::new().file("f", "abcdef").bytes()], "x:1");
        let at = archive.windows(6).position(|w| w == b"abcdef").unwrap();
        archive[at] = b'X';
        let error = images.load(Cursor::new(archive)).await.unwrap_err().to_string();
        assert!(error.starts_with("filesystem layer verification failed for digest sha256:"), "{error}");
        assert!(images.list().is_empty());
        for junk in [&b""[..], b"not a tar", b"[]"] {
            assert!(images.load(Cursor::new(junk.to_vec())).await.is_err());
        }
    });
}

/// The old format: `<n>/layer.tar`.
fn docker_archive(layers: &[Vec<u8>], tag: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|l| images::digest::sha256(l)).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":null,"rootfs":{{"type":"layers","diff_ids":{}}}}}"#,
        serde_json::to_string(&diff_ids).unwrap()
    );
    let names: Vec<String> = (0..layers.len()).map(|n| format!("{n}/layer.tar")).collect();
    let manifest = format!(
        r#"[{{"Config":"config.json","RepoTags":["{tag}"],"Layers":{}}}]"#,
        serde_json::to_string(&names).unwrap()
    );
    let mut tar = Tar::new();
    for (name, layer) in names.iter().zip(layers) {
        tar = tar.add(tar::EntryType::Regular, name, "", 0o644, layer);
    }
    tar.file("config.json", &config).file("manifest.json", &manifest).bytes()
}

#[allow(dead_code)]
fn is_send(images: Images) -> Arc<dyn Send> {
    Arc::new(images)
}

/// The only layer's directory.
fn only_layer(home: &Home) -> std::path::PathBuf {
    let mut layers = fs::read_dir(home.root().join("layers")).unwrap();
    let layer = layers.next().unwrap().unwrap().path();
    assert!(layers.next().is_none());
    layer
}

#[test]
fn a_layer_that_power_loss_cut_is_not_used() {
    for (what, damage) in [("whole", false), ("cut", true)] {
        let home = Home::new();
        rt().block_on(async {
            let images = home.open().await;
            let id = import(&images, busybox_like(), "busybox").await;
            drop(images);
            // As if the machine had gone down right after: written in another boot, not known to be on the disk.
            let layer = only_layer(&home);
            let record = layer.join("layer.json");
            let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
            json["unsynced_boot"] = "another boot".into();
            fs::write(&record, json.to_string()).unwrap();
            if damage {
                fs::write(layer.join("diff/etc/passwd"), "").unwrap();
            }
            let images = home.open().await;
            assert_eq!(images.get("busybox").is_err(), damage, "{what}");
            assert_eq!(images.damaged().is_empty(), !damage, "{what}: {:?}", images.damaged());
            // It can be had again.
            assert_ne!(import(&images, busybox_like(), "again").await, id, "another image of the same layer");
            let rootfs = images.rootfs("c", "again").await.unwrap();
            assert_eq!(fs::read_to_string(rootfs.merged.join("etc/passwd")).unwrap(), "root:x:0:0\n", "{what}");
            images.remove_rootfs("c").await.unwrap();
            // And is on the disk soon.
            let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while fs::read_to_string(only_layer(&home).join("layer.json")).unwrap().contains("unsynced_boot") {
                assert!(std::time::Instant::now() < until, "{what}: nobody sees to it");
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        });
    }
}
