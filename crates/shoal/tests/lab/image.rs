//! One small root file system: busybox, a web service, a store that speaks a little Redis, an echo and a counter.
use std::path::Path;
use tar::{Builder, EntryType, Header};

const DIRECTORIES: [&str; 9] = ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "www", "www/cgi-bin"];

/// Name, mode, content.
const FILES: [(&str, u32, &str); 10] = [
    ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", 0o644, "root:x:0:\n"),
    // Every database by name: a static program crashes on modules that it cannot load.
    (
        "etc/nsswitch.conf",
        0o644,
        "passwd: files\ngroup: files\nshadow: files\nservices: files\nprotocols: files\nnetworks: files\n\
         ethers: files\nrpc: files\nhosts: files dns\n",
    ),
    ("etc/services", 0o644, "http 80/tcp\ndomain 53/udp\n"),
    // Answers with its container and the client that it sees. A first process has to want to end by SIGTERM.
    ("bin/web", 0o755, "#!/bin/sh\ntrap 'exit 0' TERM\necho serving\nhttpd -f -p 0.0.0.0:8080 -h /www & wait\n"),
    ("www/cgi-bin/index.cgi", 0o755, "#!/bin/sh\necho\necho \"container $(hostname)\"\necho \"client $REMOTE_ADDR\"\n"),
    ("bin/store", 0o755, "#!/bin/sh\ntrap 'exit 0' TERM\nnc -ll -p 6379 -e /bin/store-session & wait\n"),
    (
        "bin/store-session",
        0o755,
        "#!/bin/sh\nwhile read -r verb key value; do case $verb in\n  PING) echo +PONG;;\n  \
         SET) echo \"$value\" >/tmp/$key; echo +OK;;\n  GET) cat /tmp/$key;;\nesac; done\n",
    ),
    ("bin/echo-session", 0o755, "#!/bin/sh\necho connected >/proc/1/fd/1\nexec cat\n"),
    // Counts into a connection that stays open, and prints what comes back.
    (
        "bin/counter",
        0o755,
        "#!/bin/sh\n{ i=0; while :; do echo $i; i=$((i+1)); usleep 50000; done; } | nc $1 $2\necho broken\n",
    ),
];

/// Writes it as `docker import` takes it.
pub fn write(archive: &Path) {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let list = std::process::Command::new("/bin/busybox").arg("--list").output().unwrap();
    let mut tar = Builder::new(std::fs::File::create(archive).unwrap());
    for dir in DIRECTORIES {
        let mode = if dir == "tmp" { 0o1777 } else { 0o755 };
        tar.append_data(&mut header(EntryType::Directory, mode, 0), format!("{dir}/"), std::io::empty()).unwrap();
    }
    let size = busybox.len() as u64;
    tar.append_data(&mut header(EntryType::Regular, 0o755, size), "bin/busybox", &busybox[..]).unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|a| *a != "busybox") {
        let mut link = header(EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut link, format!("bin/{applet}"), "busybox").unwrap();
    }
    for (name, mode, text) in FILES {
        let mut head = header(EntryType::Regular, mode, text.len() as u64);
        tar.append_data(&mut head, name, text.as_bytes()).unwrap();
    }
    tar.finish().unwrap();
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}
