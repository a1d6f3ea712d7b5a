//! Where data lies when nobody says where.
//!
//! Believe this: it is the place that the system's users expect, and always inside the home folder of who runs the hub.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Environment;

/// The folder's name in the place of all programs' data.
const NAME: &str = "bellboard";

/// The default data folder: on macOS `~/Library/Application Support/bellboard`, elsewhere `$XDG_DATA_HOME/bellboard` or
/// `~/.local/share/bellboard`. None without a home folder.
#[must_use]
pub fn default(environment: Environment<'_>) -> Option<PathBuf> {
    let folder = |variable: &str| absolute(environment(variable));
    let of_programs = if cfg!(target_os = "macos") {
        folder("HOME")?.join("Library").join("Application Support")
    } else {
        // The XDG base directory specification: a path that is not absolute is to be ignored.
        folder("XDG_DATA_HOME").or_else(|| Some(folder("HOME")?.join(".local").join("share")))?
    };
    Some(of_programs.join(NAME))
}

fn absolute(value: Option<OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(all(test, not(target_os = "macos")))]
mod tests {
    use super::*;

    #[test]
    fn data_lies_where_the_system_says() {
        let with = |xdg: &'static str, home: &'static str| {
            default(&move |name| match name {
                "XDG_DATA_HOME" => Some(xdg.into()),
                "HOME" => Some(home.into()),
                _ => None,
            })
        };
        assert_eq!(with("/x", "/home/ada"), Some("/x/bellboard".into()));
        assert_eq!(with("", "/home/ada"), Some("/home/ada/.local/share/bellboard".into()));
        assert_eq!(with("x", "/home/ada"), Some("/home/ada/.local/share/bellboard".into()));
        assert_eq!(with("", ""), None);
    }
}
