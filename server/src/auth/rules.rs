//! Which Host and which Origin a request may name.
//!
//! Believe this: a web page cannot choose either. A page of another site names its own Origin, and a page whose name was pointed at
//! this machine after it was loaded (DNS rebinding) names its own Host. So both are refused before anything is looked at, whatever
//! key they bring.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// Why a text is no host or no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No host.
    #[error("is not a host name or address, with or without a port")]
    Host,
    /// No origin.
    #[error("is not an origin: a scheme, a host and perhaps a port, with nothing behind")]
    Origin,
}

/// A host that requests may name: a name or address, of one port or of any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// In lower case, without brackets.
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Reads `name`, `name:port`, `address`, `address:port`, `[address]` or `[address]:port`.
    ///
    /// # Errors
    /// When it is nothing of that kind.
    pub fn parse(text: &str) -> Result<Host, Error> {
        let bare: Option<IpAddr> = text.parse().ok();
        let text = match bare {
            Some(IpAddr::V6(address)) => &format!("[{address}]"),
            Some(IpAddr::V4(_)) | None => text,
        };
        let authority: Authority = text.parse().map_err(|_| Error::Host)?;
        let host = Host::of(&authority).ok_or(Error::Host)?;
        let port_is_odd = host.port.is_none() && text.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        if host.name.contains('*') || port_is_odd {
            return Err(Error::Host);
        }
        Ok(host)
    }

    /// None where there is more than a host and a port, or less.
    fn of(authority: &Authority) -> Option<Host> {
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        if authority.as_str().contains('@') || name.is_empty() {
            return None;
        }
        Some(Host {
            name: name.to_ascii_lowercase(),
            port: authority.port_u16(),
        })
    }

    fn is_loopback(&self) -> bool {
        let address: Option<IpAddr> = self.name.parse().ok();
        self.name == "localhost" || address.is_some_and(|address| address.is_loopback())
    }

    fn covers(&self, other: &Host) -> bool {
        self.name == other.name && (self.port.is_none() || self.port == other.port)
    }
}

/// The origin of a web page: scheme, host and port, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads for instance `https://board.example.com` or `http://127.0.0.1:5173`.
    ///
    /// # Errors
    /// When it has a path, has no scheme of the web, or is no origin at all.
    pub fn parse(text: &str) -> Result<Origin, Error> {
        let (scheme, rest) = text.split_once("://").ok_or(Error::Origin)?;
        let scheme = scheme.to_ascii_lowercase();
        let host = Host::parse(rest).map_err(|_| Error::Origin)?;
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(Error::Origin),
        };
        let name = if host.name.contains(':') {
            format!("[{}]", host.name)
        } else {
            host.name
        };
        // Browsers leave the scheme's own port out.
        Ok(Origin(match host.port.filter(|port| *port != default_port) {
            Some(port) => format!("{scheme}://{name}:{port}"),
            None => format!("{scheme}://{name}"),
        }))
    }

    /// The text, as browsers write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the hub itself speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// It does not.
    Http,
    /// It does.
    Https,
}

/// Why a request is refused. The text is what the request named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its Host is neither loopback nor configured, or it names none.
    Host(String),
    /// Its Origin is not the board's own, and not configured.
    Origin(String),
}

/// What one listener lets in.
#[derive(Clone, Debug)]
pub struct Rules {
    hosts: Vec<Host>,
    origins: Vec<Origin>,
    loopback: bool,
}

impl Rules {
    /// The rules of a listener: loopback names and its own address are good hosts, pages that it serves itself are good origins, and
    /// so is what was configured.
    #[must_use]
    pub fn new(listener: SocketAddr, scheme: Scheme, hosts: Vec<Host>, origins: Vec<Origin>) -> Rules {
        let mut rules = Rules {
            hosts,
            origins,
            loopback: listener.ip().is_loopback(),
        };
        let scheme = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let port = listener.port();
        let own = listener.ip();
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
        if !own.is_unspecified() && !own.is_loopback() {
            let host = Host {
                name: own.to_string(),
                port: None,
            };
            rules.hosts.push(host);
            names.push(SocketAddr::new(own, 0).to_string().trim_end_matches(":0").to_owned());
        }
        let own_origins = names
            .iter()
            .filter_map(|name| Origin::parse(&format!("{scheme}://{name}:{port}")).ok());
        rules.origins.extend(own_origins);
        rules
    }

    /// Whether only this machine reaches the listener.
    #[must_use]
    pub const fn loopback(&self) -> bool {
        self.loopback
    }

    /// Looks at a request. Everything that names a host must name a good one: HTTP/2 has two places for it.
    ///
    /// # Errors
    /// When it may not come in.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut named = false;
        if let Some(authority) = uri.authority() {
            self.check_host(Host::of(authority), authority.as_str())?;
            named = true;
        }
        for value in headers.get_all(header::HOST) {
            let text = String::from_utf8_lossy(value.as_bytes());
            let authority = text.parse::<Authority>().ok();
            self.check_host(authority.as_ref().and_then(Host::of), &text)?;
            named = true;
        }
        if !named {
            return Err(Refusal::Host(String::new()));
        }
        for value in headers.get_all(header::ORIGIN) {
            let origin = self
                .origins
                .iter()
                .find(|origin| origin.0.as_bytes() == value.as_bytes());
            if origin.is_none() {
                return Err(Refusal::Origin(String::from_utf8_lossy(value.as_bytes()).into_owned()));
            }
        }
        Ok(())
    }

    fn check_host(&self, host: Option<Host>, text: &str) -> Result<(), Refusal> {
        let good = |host: &Host| host.is_loopback() || self.hosts.iter().any(|known| known.covers(host));
        host.filter(good)
            .map(drop)
            .ok_or_else(|| Refusal::Host(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
