//! TLS, where the hub speaks it itself.
//!
//! Believe this: certificate and key are read once, at the start, so that a wrong file stops the start and not the first caller.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::settings::TlsFiles;

/// What is spoken inside: gRPC takes the first, grpc-web either.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is no PEM, or not of that kind.
    #[error("cannot use {path} as {what}; it must be a PEM file that you may read", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The two do not go together, or are not of a kind that is spoken.
    #[error("cannot use the TLS certificate {certificate} with the key {key}", certificate = files.certificate.display(), key = files.key.display())]
    Pair {
        /// The files.
        files: TlsFiles,
        /// What is wrong with them.
        source: rustls::Error,
    },
}

/// Reads the files.
///
/// # Errors
/// See [`Error`].
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, Error> {
    let certificate = |source| Error::File {
        path: files.certificate.clone(),
        what: "a TLS certificate",
        source,
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate).map_err(certificate)?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| Error::File {
        path: files.key.clone(),
        what: "the key of a TLS certificate",
        source,
    })?;
    let pair = |source| Error::Pair {
        files: files.clone(),
        source,
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(pair)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
