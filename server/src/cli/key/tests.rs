use std::path::Path;

use bellboard_core::clock::Manual;
use clap::Parser;

use super::*;
use crate::auth::key::parse;
use crate::auth::keys::Source as _;

#[derive(Debug, Parser)]
struct Typed {
    #[command(subcommand)]
    command: Command,
}

/// What is printed in this folder, at one second past the beginning of 1970.
async fn run(data_dir: &Path, typed: &str) -> Result<String, super::super::Error> {
    let command = Typed::parse_from(format!("key {typed}").split(' ')).command;
    let mut out = Vec::new();
    let clock = Manual::starting_at(Time(1_000_000));
    act(command, &data_dir.into(), &*clock, &mut out).await?;
    Ok(anstream::adapter::strip_bytes(&out).into_vec().try_into().unwrap())
}

async fn exit(data_dir: &Path, typed: &str) -> Exit {
    run(data_dir, typed).await.unwrap_err().exit()
}

#[tokio::test]
async fn a_key_is_printed_once_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("new");
    let text = run(
        &dir,
        "create --principal ada --scope read,publish --expires 1m --label laptop",
    )
    .await
    .unwrap();
    let id = parse(text.trim_end()).unwrap().to_owned();
    let good = ApiKeys::open(dir.as_path()).await.unwrap().keys().await.unwrap();
    assert_eq!(good[0].hash, crate::auth::key::hash(text.trim_end()));
    let listed = run(&dir, "list").await.unwrap();
    let columns = "default  read,publish  1970-01-01T00:00:01Z  1970-01-01T00:01:01Z  laptop\n";
    assert!(
        listed.contains(&format!("{id}  good   ada        {columns}")),
        "{listed}"
    );
    let secret = text.trim_end().rsplit('_').next().unwrap();
    assert!(!listed.contains(secret));
    assert_eq!(
        run(&dir, &format!("revoke {id}")).await.unwrap(),
        format!("revoked {id}\n")
    );
    assert!(
        run(&dir, "list")
            .await
            .unwrap()
            .contains(&format!("{id}  revoked  ada"))
    );
    let again = run(&dir, &format!("revoke {}", text.trim_end())).await.unwrap_err();
    assert_eq!(again.exit(), Exit::NotFound);
    assert!(!again.to_string().contains(secret), "no error text holds a key");
}

#[tokio::test]
async fn a_key_allows_reading_and_nothing_more_unless_told() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "create --principal ada").await.unwrap();
    let good = ApiKeys::open(dir.path()).await.unwrap().keys().await.unwrap();
    let principal = &good[0].principal;
    assert_eq!(principal.scopes.iter().collect::<Vec<_>>(), [Scope::Read]);
    assert_eq!((principal.tenant.as_str(), good[0].expire_time), (local::TENANT, None));
}

#[tokio::test]
async fn a_key_that_could_never_be_used_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        exit(dir.path(), "create --principal ada --expires 0s").await,
        Exit::Usage
    );
    for typed in [
        "create --principal a/b",
        "create --principal ada --scope fly",
        "create --principal ada --expires soon",
        "create",
    ] {
        assert!(
            Typed::try_parse_from(format!("key {typed}").split(' ')).is_err(),
            "{typed}"
        );
    }
}

#[tokio::test]
async fn resume_token_keys_are_added_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "create --principal ada").await.unwrap();
    assert_eq!(
        run(dir.path(), "rotate-resume").await.unwrap(),
        "made resume token key 1\n"
    );
    assert_eq!(
        run(dir.path(), "rotate-resume").await.unwrap(),
        "made resume token key 2\n"
    );
    let listed = run(dir.path(), "list").await.unwrap();
    assert!(
        listed.contains(
            "1           makes tokens  1970-01-01T00:00:01Z\n2           coming        1970-01-01T00:00:11Z\n"
        ),
        "{listed}"
    );
    assert_eq!(
        run(dir.path(), "remove-resume 1").await.unwrap(),
        "removed resume token key 1\n"
    );
    assert_eq!(exit(dir.path(), "remove-resume 1").await, Exit::NotFound);
    assert_eq!(exit(dir.path(), "remove-resume 9").await, Exit::NotFound);
}

#[tokio::test]
async fn a_folder_without_data_is_told_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    for typed in ["list", "revoke a", "rotate-resume", "remove-resume 1"] {
        assert_eq!(exit(&none, typed).await, Exit::NotFound, "{typed}");
    }
    assert!(!none.exists());
}

#[tokio::test]
async fn a_key_gets_another_expiry_unless_it_was_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = run(dir, "create --principal ada --expires 1m").await.unwrap();
    let id = parse(text.trim_end()).unwrap().to_owned();
    let expiry = async || {
        ApiKeys::open(dir)
            .await
            .unwrap()
            .find(&id)
            .await
            .unwrap()
            .unwrap()
            .expires
    };
    let renewed = run(dir, &format!("renew {id} --expires 2m")).await.unwrap();
    assert_eq!(renewed, format!("renewed {id}\n"));
    assert_eq!(expiry().await, Some(Time(121_000_000)));
    run(dir, &format!("renew {} --expires never", text.trim_end()))
        .await
        .unwrap();
    assert_eq!(expiry().await, None);
    assert_eq!(exit(dir, &format!("renew {id} --expires 0s")).await, Exit::Usage);
    assert_eq!(exit(dir, "renew 3f2a9c01b7de --expires 1m").await, Exit::NotFound);
    run(dir, &format!("revoke {id}")).await.unwrap();
    assert_eq!(exit(dir, &format!("renew {id} --expires 1m")).await, Exit::NotFound);
}
