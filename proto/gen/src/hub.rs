//! The hub's view of the contract: the same wire, with every event, delta and page of a snapshot left as the bytes in which it came.
//!
//! The one thing to believe: a message field and a bytes field are the same on the wire (length-delimited), so a hub
//! that reads events as bytes sends exactly what was stored, without decoding or encoding it. Deltas and the pages of
//! snapshots are shared likewise.

use std::collections::BTreeSet;

use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};

/// The messages that become bytes wherever they are a field.
const KEPT_AS_BYTES: [&str; 3] = ["Event", "Delta", "SnapshotPage"];

/// The transformed contract.
pub(crate) struct View {
    /// The contract's files, with event fields as bytes, and Google's well-known ones.
    pub(crate) descriptors: FileDescriptorSet,
    /// Names of the messages and enums that hold none of them, and are therefore those of the typed flavour.
    pub(crate) shared: BTreeSet<String>,
}

/// Makes the hub's view of `package`.
pub(crate) fn view(descriptors: &FileDescriptorSet, package: &str) -> View {
    // The well-known types stay, because prost looks at them when it decides what to derive.
    let mut contract = FileDescriptorSet {
        file: descriptors
            .file
            .iter()
            .filter(|file| [package, "google.protobuf"].contains(&file.package()))
            .cloned()
            .collect(),
    };
    let own = holders(&contract, package);
    let mut shared = BTreeSet::new();
    let kept = KEPT_AS_BYTES.map(|name| format!(".{package}.{name}"));
    for file in contract.file.iter_mut().filter(|file| file.package() == package) {
        shared.extend(file.enum_type.iter().map(|each| each.name().to_owned()));
        for message in &mut file.message_type {
            if own.contains(message.name()) {
                message
                    .field
                    .iter_mut()
                    .filter(|field| kept.iter().any(|name| name == field.type_name()))
                    .for_each(make_bytes);
            } else {
                shared.insert(message.name().to_owned());
            }
        }
    }
    View {
        descriptors: contract,
        shared,
    }
}

/// Names of the messages that hold one of them, directly or through other messages.
fn holders(contract: &FileDescriptorSet, package: &str) -> BTreeSet<String> {
    let messages: Vec<&DescriptorProto> = contract.file.iter().flat_map(|file| &file.message_type).collect();
    let mut found: BTreeSet<String> = BTreeSet::new();
    loop {
        let before = found.len();
        for message in &messages {
            let holds = message.field.iter().any(|field| {
                let name = field
                    .type_name()
                    .strip_prefix(&format!(".{package}."))
                    .unwrap_or_default();
                KEPT_AS_BYTES.contains(&name) || found.contains(name)
            });
            if holds {
                found.insert(message.name().to_owned());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn make_bytes(field: &mut FieldDescriptorProto) {
    field.set_type(Type::Bytes);
    field.type_name = None;
}
