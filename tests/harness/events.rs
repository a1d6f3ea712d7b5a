//! Events and requests in few words.

use bellboard_proto::v1::{self, event::Payload, interest::Selector, session_ref::Ref, subscribe_request::Start};

/// An append that is being put together.
#[derive(Clone, Debug, Default)]
pub struct Append(pub v1::EventAppend);

/// An append to the session of this id.
#[must_use]
pub fn on(session: &str) -> Append {
    Append(v1::EventAppend {
        session: Some(by_id(session)),
        event: Some(v1::Event::default()),
        ..v1::EventAppend::default()
    })
}

/// An append to the session of this key.
#[must_use]
pub fn on_key(vendor: &str, project: &str, native_id: &str) -> Append {
    let key = v1::SessionKey {
        vendor: vendor.into(),
        installation: "laptop".into(),
        project: project.into(),
        native_id: native_id.into(),
    };
    Append(v1::EventAppend {
        session: Some(v1::SessionRef {
            r#ref: Some(Ref::Key(key)),
        }),
        ..on("unused").0
    })
}

/// A session by its id.
#[must_use]
pub fn by_id(session: &str) -> v1::SessionRef {
    v1::SessionRef {
        r#ref: Some(Ref::SessionId(session.into())),
    }
}

impl Append {
    /// With this payload.
    #[must_use]
    pub fn with(mut self, payload: Payload) -> Append {
        self.event().payload = Some(payload);
        self
    }

    /// A message that is complete.
    #[must_use]
    pub fn says(self, text: &str) -> Append {
        let item = format!("item-{text}");
        self.completes(&item, text)
    }

    /// The start of a message.
    #[must_use]
    pub fn starts(self, item: &str) -> Append {
        let started = v1::MessageStarted {
            role: v1::MessageRole::Agent.into(),
            ..v1::MessageStarted::default()
        };
        self.with(Payload::MessageStarted(started)).item(item)
    }

    /// The full value of a message.
    #[must_use]
    pub fn completes(self, item: &str, text: &str) -> Append {
        let text = v1::LongText {
            text: text.into(),
            ..v1::LongText::default()
        };
        let part = v1::ContentPart {
            part: Some(v1::content_part::Part::Text(text)),
        };
        let completed = v1::MessageCompleted {
            role: v1::MessageRole::Agent.into(),
            content: vec![part],
            ..v1::MessageCompleted::default()
        };
        self.with(Payload::MessageCompleted(completed)).item(item)
    }

    /// The session opens with this title.
    #[must_use]
    pub fn opens(self, title: &str) -> Append {
        let facts = v1::SessionFacts {
            title: title.into(),
            ..v1::SessionFacts::default()
        };
        self.with(Payload::SessionOpened(v1::SessionOpened {
            facts: Some(facts),
            ..v1::SessionOpened::default()
        }))
    }

    /// The session opens in this project, under an agent of this vendor.
    #[must_use]
    pub fn opens_in(self, project: &str, vendor: &str) -> Append {
        let facts = v1::SessionFacts {
            project: project.into(),
            vendor: vendor.into(),
            ..v1::SessionFacts::default()
        };
        self.with(Payload::SessionOpened(v1::SessionOpened {
            facts: Some(facts),
            ..v1::SessionOpened::default()
        }))
    }

    /// The session moves to this project.
    #[must_use]
    pub fn moves_to(self, project: &str) -> Append {
        let facts = v1::SessionFacts {
            project: project.into(),
            ..v1::SessionFacts::default()
        };
        self.with(Payload::SessionUpdated(v1::SessionUpdated {
            facts: Some(facts),
            ..v1::SessionUpdated::default()
        }))
    }

    /// The session opens as the child of another.
    #[must_use]
    pub fn opens_below(self, parent: &str) -> Append {
        let opened = v1::SessionOpened {
            parent_session: Some(by_id(parent)),
            ..v1::SessionOpened::default()
        };
        self.with(Payload::SessionOpened(opened))
    }

    /// The session comes to lie below another.
    #[must_use]
    pub fn moves_below(self, parent: &str) -> Append {
        let updated = v1::SessionUpdated {
            parent_session: Some(by_id(parent)),
            ..v1::SessionUpdated::default()
        };
        self.with(Payload::SessionUpdated(updated))
    }

    /// The session closes.
    #[must_use]
    pub fn closes(self) -> Append {
        self.with(Payload::SessionClosed(v1::SessionClosed::default()))
    }

    /// Names the item.
    #[must_use]
    pub fn item(mut self, item: &str) -> Append {
        self.event().item_id = item.into();
        self
    }

    /// Names the event.
    #[must_use]
    pub fn id(mut self, id: &str) -> Append {
        self.event().event_id = id.into();
        self
    }

    /// Counts it as its writer's.
    #[must_use]
    pub fn seq(mut self, seq: u64) -> Append {
        self.0.seq = seq;
        self
    }

    /// Makes it recognisable.
    #[must_use]
    pub fn dedupe(mut self, key: &str) -> Append {
        self.0.dedupe_key = key.into();
        self
    }

    /// Puts raw bytes beside it.
    #[must_use]
    pub fn raw(mut self, content: &[u8]) -> Append {
        let content = content.to_vec().into();
        self.0.raw = Some(v1::RawContent {
            media_type: "application/json".into(),
            content,
        });
        self
    }

    fn event(&mut self) -> &mut v1::Event {
        self.0.event.get_or_insert_default()
    }
}

/// An append without a session: a connector of this id is there.
#[must_use]
pub fn connector_online(connector_id: &str) -> Append {
    of_tenant(Payload::ConnectorOnline(v1::ConnectorOnline {
        connector_id: connector_id.into(),
        ..v1::ConnectorOnline::default()
    }))
}

/// An append without a session: a connector of this id leaves.
#[must_use]
pub fn connector_offline(connector_id: &str) -> Append {
    of_tenant(Payload::ConnectorOffline(v1::ConnectorOffline {
        connector_id: connector_id.into(),
        ..v1::ConnectorOffline::default()
    }))
}

fn of_tenant(payload: Payload) -> Append {
    Append::default().with(payload)
}

/// A fragment of a message's text.
#[must_use]
pub fn fragment(session: &str, item: &str, at: usize, text: &str) -> v1::DeltaAppend {
    let delta = v1::Delta {
        item_id: item.into(),
        at: at as u64,
        fragment: Some(v1::delta::Fragment::MessageText(text.into())),
        ..v1::Delta::default()
    };
    v1::DeltaAppend {
        session: Some(by_id(session)),
        delta: Some(delta),
    }
}

/// The text of a message that is complete; empty for any other event.
#[must_use]
pub fn text(event: &v1::Event) -> String {
    let Some(Payload::MessageCompleted(completed)) = &event.payload else {
        return String::new();
    };
    let part = |part: &v1::ContentPart| match &part.part {
        Some(v1::content_part::Part::Text(text)) => text.text.clone(),
        _ => String::new(),
    };
    completed.content.iter().map(part).collect()
}

/// All sessions.
#[must_use]
pub fn all(detail: v1::Detail) -> v1::Interest {
    interest(Selector::All(v1::AllSelector {}), detail)
}

/// One session.
#[must_use]
pub fn session(session: &str, detail: v1::Detail) -> v1::Interest {
    let selector = v1::SessionSelector {
        session_id: session.into(),
        with_descendants: false,
    };
    interest(Selector::Session(selector), detail)
}

/// One session and all below it.
#[must_use]
pub fn subtree(session: &str, detail: v1::Detail) -> v1::Interest {
    let selector = v1::SessionSelector {
        session_id: session.into(),
        with_descendants: true,
    };
    interest(Selector::Session(selector), detail)
}

/// One project.
#[must_use]
pub fn project(project: &str, detail: v1::Detail) -> v1::Interest {
    interest(
        Selector::Project(v1::ProjectSelector {
            project: project.into(),
        }),
        detail,
    )
}

fn interest(selector: Selector, detail: v1::Detail) -> v1::Interest {
    v1::Interest {
        selector: Some(selector),
        families: Vec::new(),
        detail: detail.into(),
    }
}

/// All sessions of one vendor's agents.
#[must_use]
pub fn vendor(vendor: &str, detail: v1::Detail) -> v1::Interest {
    interest(Selector::Vendor(v1::VendorSelector { vendor: vendor.into() }), detail)
}

/// A subscription that begins here.
#[must_use]
pub fn from(start: Start, interests: Vec<v1::Interest>) -> v1::SubscribeRequest {
    v1::SubscribeRequest {
        start: Some(start),
        interests,
        ..v1::SubscribeRequest::default()
    }
}

/// From now on.
#[must_use]
pub fn from_now(interests: Vec<v1::Interest>) -> v1::SubscribeRequest {
    from(Start::FromNow(v1::FromNow {}), interests)
}

/// From the oldest event on.
#[must_use]
pub fn from_start(interests: Vec<v1::Interest>) -> v1::SubscribeRequest {
    from(Start::FromStart(v1::FromStart {}), interests)
}

/// From a snapshot on.
#[must_use]
pub fn from_snapshot(interests: Vec<v1::Interest>) -> v1::SubscribeRequest {
    from(Start::Snapshot(v1::FromSnapshot {}), interests)
}

/// From a resume token on.
#[must_use]
pub fn resume(token: &str, interests: Vec<v1::Interest>) -> v1::SubscribeRequest {
    from(Start::ResumeToken(token.into()), interests)
}
