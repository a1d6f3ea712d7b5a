//! What kind of call a method is.
//!
//! Believe this: a kind follows from the path alone, before anything of the request is read, and a test compares it with the contract.

/// How a call behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// One request, and answers for as long as the client likes.
    Subscription,
    /// Requests and answers for as long as the client likes.
    Publisher,
    /// One request and its answer; also what stands beside the contract (health, reflection).
    Call,
}

impl Kind {
    /// The kind of the method at this path.
    pub(super) fn of(path: &str) -> Kind {
        match path {
            "/bellboard.v1.SubscribeService/Subscribe"
            | "/bellboard.v1.AttentionService/WatchAttention"
            | "/bellboard.v1.CommandService/ReceiveCommands" => Kind::Subscription,
            "/bellboard.v1.SessionEventsService/PublishEvents" => Kind::Publisher,
            _ => Kind::Call,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn every_method_of_the_contract_is_of_the_kind_that_it_says() {
        let pool = DescriptorPool::decode(bellboard_proto::FILE_DESCRIPTOR_SET).unwrap();
        let services = pool
            .services()
            .filter(|service| service.package_name() == "bellboard.v1");
        let mut long = 0;
        for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
                (false, false) => Kind::Call,
                (false, true) => Kind::Subscription,
                (true, _) => Kind::Publisher,
            };
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            assert_eq!(Kind::of(&path), kind, "{path}");
            long += usize::from(kind != Kind::Call);
        }
        assert_eq!(long, 4);
    }
}
