use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::{Args as _, Command};

use super::*;
use crate::serve::settings::{Metrics, Proxy, Reach};
use crate::store::Synchronous;
use crate::telemetry::Format;

fn command() -> Command {
    ServeFlags::augment_args(Command::new("serve").no_binary_name(true))
}

/// What comes out of these flags, this environment, and this file in the data folder.
fn run(folder: &Path, flags: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Config, Error> {
    fs::write(folder.join(FILE_NAME), file).unwrap();
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let environment = |name: &str| match name {
        "BELLBOARD_DATA_DIR" => Some(folder.as_os_str().to_owned()),
        name => variables.get(name).map(Into::into),
    };
    let matches = command().get_matches_from(flags);
    resolve(&ServeFlags::from_arg_matches(&matches).unwrap(), &environment)
}

#[test]
fn nothing_said_means_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let config = run(dir.path(), &[], &[], "").unwrap();
    assert_eq!(config.settings, Settings::new(dir.path().to_owned()));
    assert_eq!(config.logging.filter, setting::LOG.default);
    assert_eq!(config.logging.format, Format::Text);
}

#[test]
fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let flags: &[&str] = &["--heartbeat", "2s"];
    let variables: &[_] = &[("BELLBOARD_HEARTBEAT", "3s")];
    let file = "heartbeat = \"4s\"";
    for (flags, variables, file, seconds) in [
        (flags, variables, file, 2),
        (&[], variables, file, 3),
        (&[], &[], file, 4),
        (&[], &[], "", 15),
        (&[], &[("BELLBOARD_HEARTBEAT", "")], file, 4),
    ] {
        let config = run(dir.path(), flags, variables, file).unwrap();
        assert_eq!(config.settings.heartbeat, Duration::from_secs(seconds));
    }
}

#[test]
fn every_setting_can_be_chosen_in_every_place() {
    let dir = tempfile::tempdir().unwrap();
    let values = [
        ("listen", "[::1]:80"),
        ("database_url", "postgres://ada:secret@db.example:1/hub"),
        ("synchronous", "relaxed"),
        ("window_bytes", "2MiB"),
        ("replay_limit", "7"),
        ("retain_age", "30d"),
        ("retain_bytes", "2GiB"),
        ("heartbeat", "2s"),
        ("max_stream_age", "24h"),
        ("drain_deadline", "3s"),
        ("allow_host", "a.example,b.example:1"),
        ("allow_origin", "https://a.example"),
        ("behind_proxy", "true"),
        ("tls_cert", "/c.pem"),
        ("tls_key", "/k.pem"),
        ("keepalive", "5s"),
        ("connections", "50"),
        ("connections_per_address", "0"),
        ("subscriptions_per_principal", "3"),
        ("publishers_per_principal", "2"),
        ("calls_per_principal", "1"),
        ("metrics_address", "127.0.0.1:9"),
        ("metrics_anywhere", "true"),
        ("log", "debug"),
        ("log_format", "json"),
    ];
    let setting = |name: &str| *setting::SERVE.iter().find(|setting| setting.name == name).unwrap();
    let settled = setting::SERVE
        .iter()
        .filter(|setting| !["data_dir", "config"].contains(&setting.name));
    assert_eq!(
        settled.map(|setting| setting.name).collect::<Vec<_>>(),
        values.map(|(name, _)| name)
    );

    let flags = values.map(|(name, value)| format!("--{}={value}", setting(name).flag));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let variables = values.map(|(name, value)| (setting(name).variable, value));
    let file: String = values
        .iter()
        .map(|(name, value)| format!("{name} = \"{value}\"\n"))
        .collect();
    for (flags, variables, file) in [
        (flags.as_slice(), &[][..], ""),
        (&[], &variables, ""),
        (&[], &[], &file),
    ] {
        let Config { settings, logging } = run(dir.path(), flags, variables, file).unwrap();
        let expected = Settings {
            listen: "[::1]:80".parse().unwrap(),
            data_dir: dir.path().to_owned(),
            database_url: Some("postgres://ada:secret@db.example:1/hub".parse().unwrap()),
            synchronous: Synchronous::Normal,
            window_bytes: 2 << 20,
            replay_events: 7,
            retention: Retention {
                age: Some(Duration::from_secs(30 * 24 * 60 * 60)),
                bytes: Some(2 << 30),
            },
            heartbeat: Duration::from_secs(2),
            max_stream_age: Some(Duration::from_secs(24 * 60 * 60)),
            drain_deadline: Duration::from_secs(3),
            allowed_hosts: ["a.example", "b.example:1"]
                .map(|host| value::host(host).unwrap())
                .to_vec(),
            allowed_origins: vec![value::origin("https://a.example").unwrap()],
            proxy: Proxy::InFront,
            tls: Some(TlsFiles {
                certificate: "/c.pem".into(),
                key: "/k.pem".into(),
            }),
            keepalive: Duration::from_secs(5),
            connections: 50,
            connections_per_address: 0,
            per_principal: PrincipalLimits {
                subscriptions: 3,
                publishers: 2,
                calls: 1,
            },
            metrics: Some(Metrics {
                listen: "127.0.0.1:9".parse().unwrap(),
                reach: Reach::Anywhere,
            }),
        };
        assert_eq!(settings, expected);
        assert_eq!((logging.filter.as_str(), logging.format), ("debug", Format::Json));
    }
}

#[test]
fn a_file_may_use_its_own_types_and_paths_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        "behind_proxy = true\nreplay_limit = 0\nallow_host = [\"a\", \"b\"]\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"";
    let settings = run(dir.path(), &[], &[], file).unwrap().settings;
    assert_eq!((settings.proxy, settings.replay_events), (Proxy::InFront, 0));
    assert_eq!(settings.allowed_hosts.len(), 2);
    assert_eq!(settings.tls.unwrap().certificate, dir.path().join("c.pem"));
    let settings = run(
        dir.path(),
        &["--behind-proxy", "--allow-host", "c", "--allow-host", "d"],
        &[],
        "",
    )
    .unwrap()
    .settings;
    assert_eq!((settings.proxy, settings.allowed_hosts.len()), (Proxy::InFront, 2));
}

#[test]
fn another_file_may_also_say_where_the_data_lies() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.toml");
    fs::write(&other, "data_dir = \"data\"\nheartbeat = \"2s\"").unwrap();
    let matches = command().get_matches_from(["--config", other.to_str().unwrap()]);
    let config = resolve(&ServeFlags::from_arg_matches(&matches).unwrap(), &|_| None).unwrap();
    assert_eq!(config.settings.data_dir, dir.path().join("data"));
    assert_eq!(config.settings.heartbeat, Duration::from_secs(2));
}

#[test]
fn what_is_wrong_is_refused_with_its_place_and_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    let file = file.to_str().unwrap();
    let known = setting::SERVE.iter().map(|setting| setting.name);
    let known: Vec<_> = known.filter(|name| !["data_dir", "config"].contains(name)).collect();
    let known = known.join(", ");
    /// Flags, variables, the file, and what is said.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str, String);
    let cases: [Case<'_>; 15] = [
        (&["--listen", "here"], &[], "", "--listen is \"here\", which is not an IP address and a port; write for instance --listen 127.0.0.1:2355".into()),
        (&[], &[("BELLBOARD_LISTEN", "2355")], "", "BELLBOARD_LISTEN is \"2355\", which is not an IP address and a port; write for instance BELLBOARD_LISTEN=127.0.0.1:2355".into()),
        (&[], &[], "listen = 2355", format!("listen in {file} is \"2355\", which is not an IP address and a port; write for instance listen = \"127.0.0.1:2355\"")),
        (&["--synchronous=off"], &[], "", "--synchronous is \"off\", which is not full or relaxed; write for instance --synchronous full".into()),
        (&["--window-bytes=64"], &[], "", "--window-bytes is \"64\", which is not a size from 1MiB to 64GiB; write for instance --window-bytes 64MiB".into()),
        (&["--heartbeat=2m"], &[], "", "--heartbeat is \"2m\", which is not a time from 1s to 60s; write for instance --heartbeat 15s".into()),
        (&["--drain-deadline=11m"], &[], "", "--drain-deadline is \"11m\", which is not a time from 0s to 10m; write for instance --drain-deadline 10s".into()),
        (&["--connections=0"], &[], "", "--connections is \"0\", which is not a number from 1 to 1000000; write for instance --connections 10000".into()),
        (&["--behind-proxy=yes"], &[], "", "--behind-proxy is \"yes\", which is not true or false; write for instance --behind-proxy=true".into()),
        (&[], &[], "allow_host = [\"a\", \"*\"]", format!("allow_host in {file} is \"*\", which is not a host, with or without a port; write for instance allow_host = [\"hub.example.com\"]")),
        (&["--allow-origin=*"], &[], "", "--allow-origin is \"*\", which is not the origin of a web page; write for instance --allow-origin https://board.example.com".into()),
        (&["--log", "x=loud"], &[], "", "--log is \"x=loud\", which is not a filter such as info, or debug,hyper=warn; write for instance --log debug,hyper=warn".into()),
        (&["--tls-cert=/c.pem"], &[], "", "--tls-cert is set and tls_key is not; set both, or neither".into()),
        (&[], &[], "lisen = \"127.0.0.1:1\"", format!("{file} has the key \"lisen\", which is no setting; remove it, or write one of {known}")),
        (&[], &[], "data_dir = \"/x\"", format!("{file} has the key \"data_dir\", by which the file itself is found; use the flag or the variable")),
    ];
    for (flags, variables, file, expected) in cases {
        let error = run(dir.path(), flags, variables, file).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    assert!(matches!(run(dir.path(), &[], &[], "listen"), Err(Error::Syntax { .. })));
    assert!(matches!(
        run(dir.path(), &["--config=/no/such"], &[], ""),
        Err(Error::Unreadable { .. })
    ));
}

#[test]
fn the_help_shows_every_setting_with_its_default_and_its_variable() {
    let help = command().term_width(1000).render_long_help().to_string();
    for setting in setting::SERVE {
        assert_eq!(setting.flag, setting.name.replace('_', "-"));
        assert_eq!(setting.variable, format!("BELLBOARD_{}", setting.name.to_uppercase()));
        for text in [
            setting.flag,
            setting.variable,
            setting.default,
            setting.default_in_words,
        ] {
            assert!(help.contains(text), "{text} is in the help");
        }
    }
}

#[test]
fn a_wrong_database_url_is_told_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    for (url, reason) in [
        ("mysql://ada:secret@db/hub", "does not begin with postgres://"),
        ("ada:secret@db/hub", "does not begin with postgres://"),
        ("postgres://ada:secret@db:x/hub", "not written as a URL"),
        ("postgres://ada@db/hub?passwd=secret", "what stands behind its ?"),
        (
            "postgres://ada:secret@db/hub?sslmode=secret",
            "what stands behind its ?",
        ),
    ] {
        for (flags, variables, place) in [
            (
                &[][..],
                &[("BELLBOARD_DATABASE_URL", url)][..],
                "BELLBOARD_DATABASE_URL",
            ),
            (&["--database-url", url], &[], "--database-url"),
        ] {
            let error = run(dir.path(), flags, variables, "").unwrap_err();
            let (text, debug) = (error.to_string(), format!("{error:?}"));
            assert!(text.contains(reason) && text.contains(place), "{text}");
            assert!(!text.contains("secret") && !debug.contains("secret"), "{text} {debug}");
        }
    }
    let url = "postgres://ada:secret@db/hub?password=secret&sslmode=require&options[search_path]=x";
    let settings = run(dir.path(), &["--database-url", url], &[], "").unwrap().settings;
    assert!(!format!("{settings:?}").contains("secret"), "{settings:?}");
    assert_eq!(settings.database().to_string(), "postgres://ada@db:5432/hub");
}

#[test]
fn p_15_a_retention_that_is_none_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let age = "a time from 1s to 36500d; write for instance --retain-age 30d";
    let bytes = "a size of 1MiB or more; write for instance --retain-bytes 10GiB";
    for (name, bad, expected) in [
        ("--retain-age", "0s", age),
        ("--retain-age", "-1d", age),
        ("--retain-age", "1", age),
        ("--retain-age", "999ms", age),
        ("--retain-age", "36501d", age),
        ("--retain-age", "99999999999999999999d", age),
        ("--retain-age", "a while", age),
        ("--retain-age", "", age),
        ("--retain-bytes", "0", bytes),
        ("--retain-bytes", "-1", bytes),
        ("--retain-bytes", "1048575", bytes),
        ("--retain-bytes", "10GB", bytes),
        ("--retain-bytes", "99999999999999999999", bytes),
    ] {
        let refused = run(dir.path(), &[&format!("{name}={bad}")], &[], "").unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("{name} is {bad:?}, which is not {expected}")
        );
    }
    let refused = run(dir.path(), &[], &[("BELLBOARD_RETAIN_AGE", "-1")], "").unwrap_err();
    assert!(
        refused.to_string().starts_with("BELLBOARD_RETAIN_AGE is \"-1\""),
        "{refused}"
    );
}
