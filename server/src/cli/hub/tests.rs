use std::ffi::OsString;

use super::*;
use crate::cli::Exit;

fn key_for(url: &str, entry: &Entry, variables: &[(&str, &str)]) -> Result<String, super::super::Error> {
    key(url, entry, &|name| {
        let found = variables.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| OsString::from(value))
    })
}

#[test]
fn what_was_typed_goes_before_the_environment_and_that_before_the_local_key() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("local.key"), "local\n").unwrap();
    fs::write(dir.path().join("other"), "filed\n").unwrap();
    let folder = ("BELLBOARD_DATA_DIR", dir.path().to_str().unwrap());
    let environment = [folder, (KEY_VARIABLE, "from-environment")];
    let typed = Entry {
        key: Some("typed".into()),
        ..Entry::default()
    };
    let filed = Entry {
        key_file: Some(dir.path().join("other")),
        ..Entry::default()
    };
    let here = "http://127.0.0.1:2355";
    assert_eq!(key_for(here, &typed, &environment).unwrap(), "typed");
    assert_eq!(key_for(here, &filed, &environment).unwrap(), "filed");
    assert_eq!(
        key_for(here, &Entry::default(), &environment).unwrap(),
        "from-environment"
    );
    assert_eq!(
        key_for(here, &Entry::default(), &[folder, (KEY_VARIABLE, "")]).unwrap(),
        "local"
    );
}

#[test]
fn the_local_key_never_leaves_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("local.key"), "local\n").unwrap();
    let folder = [("BELLBOARD_DATA_DIR", dir.path().to_str().unwrap())];
    for here in [
        "http://127.0.0.1:1",
        "http://127.9.9.9:1",
        "https://localhost",
        "http://LOCALHOST:1",
        "http://[::1]:1",
    ] {
        assert_eq!(key_for(here, &Entry::default(), &folder).unwrap(), "local", "{here}");
    }
    for elsewhere in [
        "http://10.0.0.1:1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com:2355",
        "http://[::2]:1",
        "http://127.0.0.1@example.com",
    ] {
        let error = key_for(elsewhere, &Entry::default(), &folder).unwrap_err();
        assert_eq!(error.exit(), Exit::Refused, "{elsewhere}");
    }
}

#[test]
fn a_hub_that_runs_on_the_data_folder_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().as_os_str().to_owned();
    let environment = |name: &str| (name == "BELLBOARD_DATA_DIR").then(|| folder.clone());
    assert_eq!(running(&Entry::default(), &environment), None);
    let mut lock = lock::Lock::take(dir.path()).unwrap();
    lock.tell("http://127.0.0.1:4711").unwrap();
    assert_eq!(
        running(&Entry::default(), &environment).as_deref(),
        Some("http://127.0.0.1:4711")
    );
    drop(lock);
    assert_eq!(running(&Entry::default(), &environment), None);
}

#[test]
fn without_any_key_the_text_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let folder = [("BELLBOARD_DATA_DIR", dir.path().to_str().unwrap())];
    let error = key_for(DEFAULT_ADDRESS, &Entry::default(), &folder).unwrap_err();
    assert!(error.to_string().contains("`bellboard serve`"), "{error}");
    let entry = Entry {
        key_file: Some(dir.path().join("none")),
        ..Entry::default()
    };
    assert_eq!(key_for(DEFAULT_ADDRESS, &entry, &[]).unwrap_err().exit(), Exit::Usage);
    fs::write(dir.path().join("none"), "\n").unwrap();
    assert_eq!(key_for(DEFAULT_ADDRESS, &entry, &[]).unwrap_err().exit(), Exit::Usage);
}
