//! Who a process runs as: names and numbers looked up in a root file system's passwd and group.
use crate::error::LaunchError;
use crate::launch::User;

/// A user, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn users(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Entry { name, uid, gid, home: fields.nth(1).unwrap_or("") })
    })
}

fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

/// Looks the user up as Docker does: `name|uid[:group|gid]`, supplementary groups only when no group was named.
pub(crate) fn resolve(user: &User, extra: &[String], passwd: &str, group: &str) -> Result<Account, LaunchError> {
    let mut account = match user {
        User::Resolved { uid, gid, groups } => Account {
            uid: *uid,
            gid: *gid,
            groups: groups.clone(),
            home: users(passwd).find(|entry| entry.uid == *uid).map_or("", |entry| entry.home).to_owned(),
        },
        User::Named(text) => resolve_text(text, passwd, group)?,
    };
    // The own group is one of them, so that giving up all others does not open what is closed to it (CVE-2022-36109).
    account.groups.retain(|gid| *gid != account.gid);
    account.groups.insert(0, account.gid);
    for name in extra {
        let gid = find_group(name, group)?;
        if !account.groups.contains(&gid) {
            account.groups.push(gid);
        }
    }
    if account.home.is_empty() {
        account.home = "/".to_owned();
    }
    Ok(account)
}

fn resolve_text(text: &str, passwd: &str, group: &str) -> Result<Account, LaunchError> {
    let (user, wanted_group) = text.split_once(':').unwrap_or((text, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let entry = users(passwd).find(|entry| entry.name == user || number == Some(entry.uid));
    let (uid, mut gid, home, name) = match (entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home, entry.name),
        (None, Some(uid)) if uid <= i32::MAX as u32 => (uid, 0, "", ""),
        (None, Some(_)) => return Err(refused("uids and gids must be in range 0-2147483647".to_owned())),
        (None, None) => {
            return Err(refused(format!("unable to find user {user}: no matching entries in passwd file")));
        }
    };
    let mut supplementary = Vec::new();
    if wanted_group.is_empty() {
        for (_, member_of, members) in groups(group) {
            if !name.is_empty() && members.split(',').any(|member| member == name) {
                supplementary.push(member_of);
            }
        }
    } else {
        gid = find_group(wanted_group, group)?;
    }
    Ok(Account { uid, gid, groups: supplementary, home: home.to_owned() })
}

fn find_group(wanted: &str, group: &str) -> Result<u32, LaunchError> {
    let number = wanted.parse::<u32>().ok();
    groups(group)
        .find(|(name, gid, _)| *name == wanted || number == Some(*gid))
        .map(|(_, gid, _)| gid)
        .or(number.filter(|gid| *gid <= i32::MAX as u32))
        .ok_or_else(|| refused(format!("unable to find group {wanted}: no matching entries in group file")))
}

fn refused(message: String) -> LaunchError {
    LaunchError { message, exit_code: 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34:w:/srv:/bin/sh\n7:x:8:9::/seven:\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:web\nmedia:x:50:root,web\n";

    #[test]
    fn look_ups() {
        let found = |uid, gid, groups: &[u32], home: &str| {
            Ok(Account { uid, gid, groups: groups.to_vec(), home: home.to_owned() })
        };
        for (text, want) in [
            ("", found(0, 0, &[0, 50], "/root")),
            ("web", found(33, 34, &[34, 50], "/srv")),
            ("33", found(33, 34, &[34, 50], "/srv")),
            ("web:media", found(33, 50, &[50], "/srv")),
            ("1000", found(1000, 0, &[0], "/")),
            ("1000:1001", found(1000, 1001, &[1001], "/")),
            ("7", found(8, 9, &[9], "/seven")),
            (":50", found(0, 50, &[50], "/root")),
            ("nobody", Err("unable to find user nobody: no matching entries in passwd file")),
            ("web:none", Err("unable to find group none: no matching entries in group file")),
        ] {
            let got = resolve(&User::Named(text.to_owned()), &[], PASSWD, GROUP);
            assert_eq!(got.map_err(|error| error.message), want.map_err(str::to_owned), "{text:?}");
        }
        let extra = ["media".to_owned(), "99".to_owned()];
        let got = resolve(&User::Named("1000".into()), &extra, PASSWD, GROUP).unwrap();
        assert_eq!(got.groups, [0, 50, 99]);
    }
}
