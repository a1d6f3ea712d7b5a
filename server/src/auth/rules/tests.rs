use http::HeaderValue;

use super::*;

fn rules(listener: &str, hosts: &[&str], origins: &[&str]) -> Rules {
    let hosts = hosts.iter().map(|host| Host::parse(host).unwrap()).collect();
    let origins = origins.iter().map(|origin| Origin::parse(origin).unwrap()).collect();
    Rules::new(listener.parse().unwrap(), Scheme::Http, hosts, origins)
}

fn check(rules: &Rules, uri: &str, host: Option<&str>, origin: Option<&str>) -> Result<(), Refusal> {
    let mut headers = HeaderMap::new();
    let mut put = |name, value: Option<&str>| {
        if let Some(value) = value {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
    };
    put(header::HOST, host);
    put(header::ORIGIN, origin);
    rules.check(&uri.parse().unwrap(), &headers)
}

#[test]
fn a_host_is_loopback_or_configured() {
    let rules = rules("127.0.0.1:2355", &["hub.example.com", "proxy.example.com:8443"], &[]);
    for good in [
        "localhost",
        "LocalHost:2355",
        "127.0.0.1:1",
        "127.9.8.7",
        "[::1]:2355",
        "hub.example.com",
        "Hub.Example.com:443",
        "proxy.example.com:8443",
    ] {
        assert_eq!(check(&rules, "/a/b", Some(good), None), Ok(()), "{good}");
        assert_eq!(
            check(&rules, &format!("http://{good}/a/b"), None, None),
            Ok(()),
            "{good}"
        );
    }
    for bad in [
        "evil.com",
        "evil.com:2355",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "localhost@evil.com",
        "evil.com@localhost",
        "192.168.0.5:2355",
        "0.0.0.0:2355",
        "[::]:2355",
        "proxy.example.com",
        "proxy.example.com:2355",
        "",
        "a b",
    ] {
        let refused = Err(Refusal::Host(bad.to_owned()));
        assert_eq!(check(&rules, "/a/b", Some(bad), None), refused, "{bad}");
    }
}

#[test]
fn every_place_that_names_a_host_must_name_a_good_one() {
    let rules = rules("127.0.0.1:2355", &[], &[]);
    let evil = Err(Refusal::Host("evil.com".to_owned()));
    assert_eq!(check(&rules, "http://localhost/a", Some("evil.com"), None), evil);
    assert_eq!(check(&rules, "http://evil.com/a", Some("localhost"), None), evil);
    assert_eq!(check(&rules, "/a", None, None), Err(Refusal::Host(String::new())));
}

#[test]
fn an_origin_is_absent_own_or_configured() {
    let rules = rules("127.0.0.1:2355", &[], &["https://Board.example.com:443"]);
    for good in [
        None,
        Some("http://127.0.0.1:2355"),
        Some("http://localhost:2355"),
        Some("http://[::1]:2355"),
        Some("https://board.example.com"),
    ] {
        assert_eq!(check(&rules, "/a", Some("localhost"), good), Ok(()), "{good:?}");
    }
    for bad in [
        "null",
        "http://evil.com",
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:2355",
        "http://board.example.com",
        "https://board.example.com.evil.com",
        "http://127.0.0.1:23555",
        "",
    ] {
        let refused = Err(Refusal::Origin(bad.to_owned()));
        assert_eq!(check(&rules, "/a", Some("localhost"), Some(bad)), refused, "{bad}");
    }
}

#[test]
fn a_listener_elsewhere_is_a_good_host_by_its_own_address() {
    let own = rules("192.168.0.5:2355", &[], &[]);
    assert!(!own.loopback());
    assert_eq!(
        check(&own, "/a", Some("192.168.0.5:2355"), Some("http://192.168.0.5:2355")),
        Ok(())
    );
    assert!(check(&own, "/a", Some("192.168.0.6:2355"), None).is_err());
    let all = rules("0.0.0.0:2355", &[], &[]);
    assert!(check(&all, "/a", Some("0.0.0.0:2355"), None).is_err());
    assert!(check(&all, "/a", Some("192.168.0.5:2355"), None).is_err());
}

#[test]
fn what_is_no_host_and_no_origin_cannot_be_configured() {
    for bad in [
        "",
        "*",
        "*.example.com",
        "http://a",
        "a/b",
        "a b",
        "a:",
        "a:port",
        "a:99999",
        "user@a",
        ":80",
    ] {
        assert_eq!(Host::parse(bad), Err(Error::Host), "{bad:?}");
    }
    for good in [
        "a",
        "a.b-c.d",
        "10.0.0.1",
        "10.0.0.1:80",
        "::1",
        "[fe80::1]",
        "[fe80::1]:80",
    ] {
        assert!(Host::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "a",
        "*",
        "null",
        "ftp://a",
        "http://",
        "http://a/",
        "http://a/b",
        "http://a?b",
        "http://*",
    ] {
        assert_eq!(Origin::parse(bad), Err(Error::Origin), "{bad:?}");
    }
}
