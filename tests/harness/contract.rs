//! The contract, as a client sees it that knows only its description: every service and every method.

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, ReflectMessage as _, Value,
};

/// Every method of every service, built or not.
///
/// # Panics
/// When the description cannot be read.
#[must_use]
pub fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(bellboard_proto::FILE_DESCRIPTOR_SET).expect("the contract's description");
    let services = pool.services();
    let ours = services.filter(|service| service.package_name() == "bellboard.v1");
    ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Where a method is called.
#[must_use]
pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// How deep a request is filled: an id that lies deeper is no name of what a call is about.
const DEPTH: usize = 3;

/// A request that names something wherever it can: each text that holds one id gets what `id` says for its field.
#[must_use]
pub fn naming(method: &MethodDescriptor, id: impl Fn(&str) -> String) -> Vec<u8> {
    filled(&method.input(), &id, DEPTH).encode_to_vec()
}

fn filled(of: &MessageDescriptor, id: &impl Fn(&str) -> String, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields().filter(|field| !field.is_list() && !field.is_map()) {
        match field.kind() {
            Kind::String if field.name().ends_with("_id") => {
                message.set_field(&field, Value::String(id(field.name())));
            }
            Kind::Message(inner) if depth > 0 && inner.package_name() == "bellboard.v1" => {
                message.set_field(&field, Value::Message(filled(&inner, id, depth - 1)));
            }
            _ => {}
        }
    }
    message
}

/// An answer in words, without what differs from log to log and from moment to moment: times, links, and what is random.
///
/// # Panics
/// When it is no answer of this method.
#[must_use]
pub fn told(method: &MethodDescriptor, answer: &[u8]) -> String {
    let mut message = DynamicMessage::decode(method.output(), answer).expect("an answer of this method");
    forget(&mut message);
    serde_json::to_string(&message).expect("an answer in JSON")
}

fn forget(message: &mut DynamicMessage) {
    let differs = |name: &str| {
        let random = ["resume_token", "epoch", "link", "subscription_id"];
        name.ends_with("_time") || name.ends_with("page_token") || random.contains(&name)
    };
    let made_up = |value: &Value| value.as_str().is_some_and(is_random);
    for field in message.descriptor().fields().collect::<Vec<_>>() {
        if differs(field.name()) || made_up(&message.get_field(&field)) {
            message.clear_field(&field);
        } else if message.has_field(&field) {
            match message.get_field_mut(&field) {
                Value::Message(inner) => forget(inner),
                Value::List(list) => list.iter_mut().for_each(|value| {
                    if let Value::Message(inner) = value {
                        forget(inner);
                    }
                }),
                _ => {}
            }
        }
    }
}

/// Whether it is an id of the hub's making.
fn is_random(id: &str) -> bool {
    id.len() == 36 && id.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}
