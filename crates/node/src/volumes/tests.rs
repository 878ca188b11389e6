use super::*;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("shoal-volumes-{}-{}", std::process::id(), random_name()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for target in table.lines().filter_map(|l| l.split(' ').nth(4)).filter(|t| Path::new(t).starts_with(&self.0)) {
            kernel::overlay::unmount(Path::new(target)).ok();
        }
        fs::remove_dir_all(&self.0).ok();
    }
}

fn events() -> crate::events::Events {
    crate::events::Events::new(crate::clock::now)
}

fn named(name: &str) -> VolumeSpec {
    VolumeSpec { name: name.into(), ..VolumeSpec::default() }
}

#[test]
fn refusals_are_dockers() {
    let home = Home::new();
    run(async {
        let volumes = Volumes::open(home.0.join("volumes"), events()).await.unwrap();
        let bad = |spec| {
            let v = volumes.clone();
            async move {
                let r = v.create(spec).await.unwrap_err();
                (r.kind.status(), r.message)
            }
        };
        let table = [
            (
                "in/valid",
                "create in/valid: \"in/valid\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
            ),
            ("a", "create a: volume name is too short, names should be at least two alphanumeric characters"),
        ];
        for (name, message) in table {
            assert_eq!(bad(named(name)).await, (400, message.to_owned()));
        }
        for name in ["..", ".hidden", "-x", "a b", "ü2"] {
            assert_eq!(bad(named(name)).await.0, 400, "{name}");
        }
        let plugin = VolumeSpec { driver: "nope".into(), ..named("ok") };
        assert_eq!(
            bad(plugin).await,
            (404, "create ok: error looking up volume plugin nope: plugin \"nope\" not found".into())
        );
        let with = |options: &[(&str, &str)]| VolumeSpec {
            options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..named("ok")
        };
        assert_eq!(bad(with(&[("x", "y")])).await, (400, "create ok: invalid option: \"x\"".into()));
        assert_eq!(
            bad(with(&[("type", "tmpfs")])).await,
            (400, "create ok: missing required option: \"device\"".into())
        );
        assert_eq!(volumes.get("none").unwrap_err(), Refusal::not_found("get none: no such volume"));
        assert_eq!(volumes.remove("none", false).await.unwrap_err(), Refusal::not_found("get none: no such volume"));
        volumes.remove("none", true).await.unwrap();
        volumes.create(named("used")).await.unwrap();
        volumes.hold("used", "c2").unwrap();
        volumes.hold("used", "c1").unwrap();
        assert_eq!(
            volumes.remove("used", true).await.unwrap_err(),
            Refusal::conflict("remove used: volume is in use - [c1, c2]")
        );
        assert_eq!((volumes.release("c1"), volumes.release("c2")), (vec!["used".to_owned()], vec!["used".to_owned()]));
        volumes.remove("used", false).await.unwrap();
        assert!(!home.0.join("volumes/used").exists());
    });
}

#[test]
fn volumes_survive_a_restart_and_prune_takes_the_right_ones() {
    let home = Home::new();
    run(async {
        let root = home.0.join("volumes");
        let volumes = Volumes::open(root.clone(), events()).await.unwrap();
        let anonymous = volumes.create(VolumeSpec::default()).await.unwrap();
        assert_eq!((anonymous.name.len(), anonymous.is_anonymous()), (64, true));
        let labelled = VolumeSpec { labels: [("a".to_owned(), "b".to_owned())].into(), ..named("named") };
        let first = volumes.create(labelled).await.unwrap();
        fs::write(first.mountpoint.join("f"), "12345").unwrap();
        fs::write(anonymous.mountpoint.join("f"), "123").unwrap();
        assert_eq!(volumes.create(named("named")).await.unwrap().labels, first.labels, "what is there is the answer");
        fs::create_dir(root.join(".new-crashed")).unwrap();
        volumes.create(named("broken")).await.unwrap();
        fs::write(root.join("broken/volume.json"), "{").unwrap();

        let volumes = Volumes::open(root.clone(), events()).await.unwrap();
        assert_eq!(volumes.get("named").unwrap(), first);
        assert!(!root.join(".new-crashed").exists());
        assert_eq!(volumes.damaged().len(), 1);
        assert!(volumes.get("broken").is_ok(), "its content is still there");
        assert_eq!(volumes.prune(VolumePrune::default()).await.unwrap(), (vec![anonymous.name.clone()], 3));
        let filter = VolumePrune { all: true, labels: vec!["a=b".into()], ..VolumePrune::default() };
        assert_eq!(volumes.prune(filter).await.unwrap(), (vec!["named".to_owned()], 5));
        assert_eq!(volumes.list().len(), 1);
    });
}

#[test]
fn options_are_mounted_while_somebody_uses_them() {
    let home = Home::new();
    run(async {
        let volumes = Volumes::open(home.0.join("volumes"), events()).await.unwrap();
        let source = home.0.join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("theirs"), "x").unwrap();
        let options = [("type", "none"), ("o", "bind,ro"), ("device", source.to_str().unwrap())];
        let spec =
            VolumeSpec { options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(), ..named("bound") };
        let volume = volumes.create(spec).await.unwrap();
        assert!(!volume.mountpoint.join("theirs").exists());
        for container in ["c1", "c2", "c1"] {
            volumes.mount("bound", container).await.unwrap();
        }
        assert!(volume.mountpoint.join("theirs").exists());
        assert!(fs::write(volume.mountpoint.join("new"), "").is_err(), "read-only");
        volumes.unmount("bound", "c1").await.unwrap();
        assert!(volume.mountpoint.join("theirs").exists());
        // Forgotten by the daemon, mounted in the kernel: removing must not reach what is mounted.
        let again = Volumes::open(home.0.join("volumes"), events()).await.unwrap();
        again.remove("bound", false).await.unwrap();
        assert!(source.join("theirs").exists());
        let options = [("type", "tmpfs"), ("o", "size=1m,mode=1777"), ("device", "tmpfs")];
        let spec = VolumeSpec {
            options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..named("memory")
        };
        let volume = again.create(spec).await.unwrap();
        again.mount("memory", "c").await.unwrap();
        assert_eq!(fs::metadata(&volume.mountpoint).unwrap().mode() & 0o7777, 0o1777);
        again.unmount("memory", "c").await.unwrap();
        let options = [("type", "none"), ("o", "bind"), ("device", "/no/such/dir")];
        let spec =
            VolumeSpec { options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(), ..named("wrong") };
        again.create(spec).await.unwrap();
        let message = again.mount("wrong", "c").await.unwrap_err().message;
        assert!(
            message.starts_with("failed to mount local volume: mount /no/such/dir:")
                && message.ends_with("data: bind: no such file or directory"),
            "{message}"
        );
    });
}

#[test]
fn a_fresh_volume_gets_the_images_content_once() {
    let home = Home::new();
    run(async {
        let volumes = Volumes::open(home.0.join("volumes"), events()).await.unwrap();
        let tree = home.0.join("tree");
        fs::create_dir_all(tree.join("data/sub")).unwrap();
        fs::write(tree.join("data/f"), "content").unwrap();
        std::os::unix::fs::chown(tree.join("data/f"), Some(12), Some(34)).unwrap();
        std::os::unix::fs::chown(tree.join("data"), Some(5), Some(6)).unwrap();
        fs::set_permissions(tree.join("data"), fs::Permissions::from_mode(0o1777)).unwrap();
        std::os::unix::fs::symlink("/data", tree.join("link")).unwrap();
        let volume = volumes.create(named("fresh")).await.unwrap();
        volumes.copy_up("fresh", &tree, "/link").await.unwrap();
        let (root, file) =
            (fs::metadata(&volume.mountpoint).unwrap(), fs::metadata(volume.mountpoint.join("f")).unwrap());
        assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (5, 6, 0o1777));
        assert_eq!((file.uid(), file.gid()), (12, 34));
        assert!(volume.mountpoint.join("sub").is_dir());
        // Not created: in a sticky directory the kernel may forbid even root to open somebody else's file with O_CREAT.
        let mut mine = fs::OpenOptions::new().write(true).truncate(true).open(volume.mountpoint.join("f")).unwrap();
        std::io::Write::write_all(&mut mine, b"mine").unwrap();
        volumes.copy_up("fresh", &tree, "/data").await.unwrap();
        assert_eq!(fs::read_to_string(volume.mountpoint.join("f")).unwrap(), "mine");
        volumes.create(named("other")).await.unwrap();
        volumes.copy_up("other", &tree, "/nothing").await.unwrap();
    });
}
