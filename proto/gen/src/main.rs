//! Rebuilds everything generated in `bellboard-proto` from the `.proto` files, without protoc and without a network:
//! `cargo run -p bellboard-gen`.
//!
//! The one thing to believe: both flavours of the messages and the descriptor set come from the same compiled
//! descriptors, so that they cannot disagree about the wire.

mod hub;

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use prost::Message;
use prost_types::FileDescriptorSet;

/// The contract's package.
const PACKAGE: &str = "bellboard.v1";
/// The error details, which the contract does not import and reflection has to serve.
const ERROR_DETAILS: [&str; 2] = ["google/rpc/error_details.proto", "google/rpc/status.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let generated = proto.join("src/generated");
    let descriptors = compile(&proto)?;

    // Anew each time, so that nothing stays of a file that is gone.
    if generated.exists() {
        fs::remove_dir_all(&generated)?;
    }
    fs::create_dir_all(generated.join("hub"))?;
    write_descriptor_set(&descriptors, &generated.join("descriptor_set.bin"))?;
    generate_typed(&descriptors, &generated)?;
    generate_hub(&descriptors, &generated.join("hub"))?;
    Ok(())
}

/// Compiles all files of the contract and the error details, with everything they import and with their comments.
fn compile(proto: &Path) -> Result<FileDescriptorSet, Box<dyn Error>> {
    let third_party = proto.join("third_party");
    let mut compiler = protox::Compiler::new([proto, &third_party])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(contract_files(proto)?)?;
    compiler.open_files(ERROR_DETAILS)?;
    Ok(compiler.file_descriptor_set())
}

/// The contract's files, sorted, so that the output is the same on every machine.
fn contract_files(proto: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = Path::new("bellboard/v1");
    let mut files = Vec::new();
    for entry in fs::read_dir(proto.join(folder))? {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|extension| extension == "proto") {
            files.push(folder.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// Writes the descriptors without comments, which reflection does not need and which are most of their bytes.
fn write_descriptor_set(descriptors: &FileDescriptorSet, path: &Path) -> io::Result<()> {
    let mut stripped = descriptors.clone();
    for file in &mut stripped.file {
        file.source_code_info = None;
    }
    fs::write(path, stripped.encode_to_vec())
}

/// All messages with typed fields, and the clients.
fn generate_typed(descriptors: &FileDescriptorSet, out: &Path) -> io::Result<()> {
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    // The details of an error travel in a `google.protobuf.Any`, which needs their full names.
    config.enable_type_names();
    config.type_name_domain([".google.rpc"], "type.googleapis.com");
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(false)
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .client_mod_attribute(PACKAGE, "#[cfg(feature = \"client\")]")
        .out_dir(out)
        .compile_fds_with_config(descriptors.clone(), config)
}

/// The messages that hold events, with events as bytes, and the server traits.
fn generate_hub(descriptors: &FileDescriptorSet, out: &Path) -> io::Result<()> {
    let view = hub::view(descriptors, PACKAGE);
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    for name in &view.shared {
        config.extern_path(format!(".{PACKAGE}.{name}"), format!("crate::v1::{name}"));
    }
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(true)
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .server_mod_attribute(PACKAGE, "#[cfg(feature = \"server\")]")
        .out_dir(out)
        .compile_fds_with_config(view.descriptors, config)
}
