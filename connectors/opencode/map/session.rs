//! One session of opencode: hands what is said to the parts of its state, in the order that keeps them true.
//!
//! The one thing to believe: whatever comes twice, late, or in a sweep beside the stream, changes nothing and says nothing.

use std::sync::Arc;

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{AskWithdrawReason, FilesChanged, ItemEnd, Notice, NoticeSeverity, VendorRaw, Witness};
use serde_json::Value;

use super::ask_content::Asker;
use super::asks::{Asks, Reply, Store};
use super::content::{Failure, touched};
use super::emit::{At, Emit, Name, VENDOR};
use super::facts::{Around, Facts};
use super::inputs::{Inputs, Speaker};
use super::items::{Items, Taken};
use super::parts::Part;
use super::turn::Over;
use super::turns::Turns;
use super::work::Work;
use crate::long_text::clipped;
use crate::opencode::frame::{is_later, list, number, text};

/// How many ticks of the clock (one a second) a session may be missing from the list of what runs before it counts as ended.
const ABSENT_TICKS: u8 = 3;

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: Name,
    pub(super) facts: Facts,
    /// opencode's id of its parent. Empty for a root.
    pub(super) parent: String,
    /// Set when the stream was lost: what is known may be old until opencode's record was compared.
    pub(super) doubtful: bool,
    /// When it was last heard of in the stream.
    pub(super) order: u64,
    /// The folder of the instance that runs it, which asks and states are listed by. As a rule that of its key.
    instance: String,
    /// When its status was last heard of in the stream.
    status_order: u64,
    /// Ticks since a list of what runs did not name it, unless the stream spoke of it meanwhile.
    absent: Option<u8>,
    inputs: Inputs,
    turns: Turns,
    items: Items,
    asks: Asks,
    work: Work,
}

impl Session {
    pub(super) fn new(installation: Arc<str>, directory: &str, native_id: &str) -> Session {
        Session {
            name: Name {
                installation,
                directory: directory.into(),
                native_id: native_id.into(),
            },
            facts: Facts::default(),
            parent: String::new(),
            doubtful: false,
            order: 0,
            instance: directory.to_owned(),
            status_order: 0,
            absent: None,
            inputs: Inputs::default(),
            turns: Turns::default(),
            items: Items::default(),
            asks: Asks::default(),
            work: Work::default(),
        }
    }

    /// A live frame came from the instance of this folder.
    pub(super) fn heard(&mut self, order: u64, instance: &str) {
        self.order = order;
        self.absent = None;
        if !instance.is_empty() && instance != self.instance {
            instance.clone_into(&mut self.instance);
        }
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn runs(&self) -> bool {
        self.turns.running().is_some()
    }

    fn speaker(&self) -> Speaker {
        if self.parent.is_empty() {
            Speaker::Person
        } else {
            Speaker::Agent
        }
    }

    pub(super) fn told(&mut self, emit: &mut Emit<'_>, info: &Value, around: Around) {
        text(info, "/parentID").clone_into(&mut self.parent);
        self.facts.told(emit, &self.name, info, around);
        self.admit(emit);
    }

    pub(super) fn deleted(&mut self, emit: &mut Emit<'_>) {
        self.asks.withdraw_all(emit, &self.name, AskWithdrawReason::SessionGone);
        self.facts.delete(emit, &self.name);
    }

    /// A message, of whom it may be.
    pub(super) fn message(&mut self, emit: &mut Emit<'_>, info: &Value) {
        if text(info, "/role") == "user" {
            // A record tells no idle; what came before the next input and said its last is over.
            let later = |running| is_later(text(info, "/id"), running);
            if emit.cause.witness == Witness::Derived
                && self.turns.said_its_last()
                && self.turns.running().is_some_and(later)
            {
                self.finish(emit, Over::Derived);
            }
            self.admit(emit);
            if !self.turns.has_ended(text(info, "/id")) {
                self.inputs.told(info);
            }
            return;
        }
        let speaker = self.speaker();
        let before = self.turns.running().map(str::to_owned);
        self.turns.message(emit, &self.name, &mut self.inputs, speaker, info);
        if let Some(ended) = before.filter(|turn| self.turns.has_ended(turn)) {
            self.items.died(emit, &self.name, &ended);
            self.items.turn_ended();
        }
        if number(info, "/time/completed").is_some() {
            self.message_complete(emit, info);
        }
    }

    fn message_complete(&mut self, emit: &mut Emit<'_>, info: &Value) {
        let id = text(info, "/id");
        let turn = self.turns.of(id).to_owned();
        self.items.message_ended(emit, &self.name, &turn, id);
        if self.turns.message_complete(emit, &self.name, &mut self.inputs, info) {
            self.items.turn_ended();
        }
    }

    /// A message as the record has it, with its parts. Its last state is told after them, as the stream does.
    pub(super) fn recorded(&mut self, emit: &mut Emit<'_>, info: &Value, parts: &[Value]) {
        let mut begun = info.clone();
        if let Some(time) = begun.get_mut("time").and_then(Value::as_object_mut) {
            time.remove("completed");
        }
        self.message(emit, &begun);
        for part in parts {
            self.part(emit, part);
        }
        self.message(emit, info);
    }

    /// The whole record was told: a turn whose last message says that nothing follows is over.
    pub(super) fn record_ended(&mut self, emit: &mut Emit<'_>) {
        self.admit(emit);
        if self.turns.said_its_last() {
            self.finish(emit, Over::Derived);
        }
        self.doubtful = false;
    }

    pub(super) fn part(&mut self, emit: &mut Emit<'_>, part: &Value) {
        let (id, message) = (text(part, "/id"), text(part, "/messageID"));
        let user = !self.turns.knows(message) && part.get("time").is_none() && part.get("state").is_none();
        if user && self.is_user_part(message, text(part, "/type")) {
            if self.turns.has_ended(message) {
                emit.report.repeated += 1;
            } else {
                self.inputs.part(emit, &self.name, message, part);
            }
            return;
        }
        let end = if self.turns.stopped(message) {
            ItemEnd::Interrupted
        } else {
            ItemEnd::Complete
        };
        let turn = self.turns.of(message).to_owned();
        let model = self.turns.model_of(message).to_owned();
        let told = Part {
            value: part,
            id,
            message,
            turn: &turn,
            model: &model,
            end,
        };
        match self.items.part(emit, &self.name, told) {
            Taken::Said(said) => self.turns.said(message, said),
            Taken::Nothing => {}
            Taken::Unknown => self.raw(emit),
        }
    }

    /// Parts without times are the user's, or of kinds that only steps of the agent have.
    fn is_user_part(&self, message: &str, kind: &str) -> bool {
        let steps = ["step-start", "step-finish", "patch", "snapshot", "retry"];
        self.inputs.get(message).is_some() || self.turns.has_ended(message) || !steps.contains(&kind)
    }

    pub(super) fn fragment(&mut self, emit: &mut Emit<'_>, properties: &Value) {
        let turn = self.turns.of(text(properties, "/messageID")).to_owned();
        if text(properties, "/field") == "text" {
            self.items.fragment(
                emit,
                &self.name,
                &turn,
                text(properties, "/partID"),
                text(properties, "/delta"),
            );
        } else {
            emit.report.deltas_unplaced += 1;
        }
    }

    /// `session.status` of the stream, or of a list that was asked for after `asked_order` live frames.
    pub(super) fn status(&mut self, emit: &mut Emit<'_>, status: &Value) {
        self.admit(emit);
        let speaker = self.speaker();
        match text(status, "/type") {
            "idle" => self.idle(emit),
            "retry" => {
                self.turns.busy(emit, &self.name, &mut self.inputs, speaker);
                self.turns.retry(emit, &self.name, status);
            }
            "busy" => self.turns.busy(emit, &self.name, &mut self.inputs, speaker),
            _ => self.raw(emit),
        }
        if emit.cause.witness == Witness::Structured {
            self.status_order = emit.cause.order;
        }
    }

    /// A list of what runs, asked for after `asked_order` live frames; `None` when this session is not on it.
    pub(super) fn listed(&mut self, emit: &mut Emit<'_>, status: Option<&Value>, asked_order: u64) {
        // How a doubtful session came to where it stands is not known yet; its record is read first.
        if self.status_order > asked_order || self.doubtful {
            return;
        }
        match status {
            Some(status) if text(status, "/type") != "idle" => {
                self.absent = None;
                self.status(emit, status);
            }
            // The answer may have overtaken the turn's own end in the stream.
            Some(_) | None => {
                self.admit(emit);
                self.absent.get_or_insert(0);
            }
        }
    }

    /// Lists do not name it, and the stream says nothing of it any more: whatever ran has ended.
    fn gone(&mut self, emit: &mut Emit<'_>) {
        let reason = self.withdraw_reason();
        self.asks.withdraw_all(emit, &self.name, reason);
        if let Some(turn) = self.turns.running().map(str::to_owned) {
            self.items.died(emit, &self.name, &turn);
            self.finish(emit, Over::Died);
        }
    }

    pub(super) fn idle(&mut self, emit: &mut Emit<'_>) {
        let before = emit.report.events;
        let reason = self.withdraw_reason();
        self.asks.withdraw_all(emit, &self.name, reason);
        if self.turns.idle(emit, &self.name, &mut self.inputs) {
            self.items.turn_ended();
        }
        if emit.report.events == before {
            emit.report.repeated += 1;
        }
        self.status_order = emit.cause.order;
    }

    pub(super) fn failed(&mut self, emit: &mut Emit<'_>, error: Option<&Value>) {
        let failure = Failure::read(error).unwrap_or_default();
        // That something was stopped which no longer runs is no news.
        if self.turns.failed(&failure) || failure.aborted() {
            emit.report.repeated += 1;
            return;
        }
        let notice = Notice {
            severity: NoticeSeverity::Error.into(),
            title: clipped(&failure.message, 512),
            text: String::new(),
            code: failure.native_code(),
            show_duration: None,
        };
        let key = format!("error:{}", emit.cause.id);
        emit.fact(&self.name, At::default(), &key, Payload::Notice(notice));
    }

    pub(super) fn asked(&mut self, emit: &mut Emit<'_>, store: Store, request: &Value, agent_path: &[String]) {
        let message = text(request, "/tool/messageID");
        let item = self.items.of_call(message, text(request, "/tool/callID"));
        let turn = self.turns.of(message).to_owned();
        let asker = Asker {
            turn: &turn,
            item: &item,
            agent_path,
        };
        self.asks.opened(emit, &self.name, asker, store, request);
    }

    pub(super) fn replied(&mut self, emit: &mut Emit<'_>, properties: &Value, reply: Reply) {
        self.asks.replied(emit, &self.name, properties, reply);
    }

    /// opencode's list of open asks, as far as it is about this session.
    pub(super) fn asks_listed(
        &mut self,
        emit: &mut Emit<'_>,
        store: Store,
        requests: &[&Value],
        agent_path: &[String],
        asked_order: u64,
    ) {
        if self.doubtful {
            return;
        }
        let ids: Vec<&str> = requests.iter().map(|request| text(request, "/id")).collect();
        self.asks.listed(store, &ids, asked_order);
        // opencode keeps the asks of stopped turns in its list for a while. Nobody waits for them.
        if self.runs() {
            for request in requests {
                self.asked(emit, store, request, agent_path);
            }
        }
    }

    pub(super) fn diff(&mut self, emit: &mut Emit<'_>, properties: &Value) {
        let turn = self.turns.running().unwrap_or_default().to_owned();
        self.work.diff(emit, &self.name, &turn, properties);
    }

    pub(super) fn plan(&mut self, emit: &mut Emit<'_>, properties: &Value) {
        let turn = self.turns.running().unwrap_or_default().to_owned();
        self.work.plan(emit, &self.name, &turn, properties);
    }

    /// A file was edited by one of this session's running calls. Answers whether it was.
    pub(super) fn edited(&mut self, emit: &mut Emit<'_>, file: &str) -> bool {
        let Some((item, message)) = self.items.working_on(file) else {
            return false;
        };
        let at = At {
            turn: self.turns.of(message),
            item,
            ..At::default()
        };
        let changed = FilesChanged {
            changes: vec![touched(file)],
            by_agent: true,
        };
        emit.derived(
            &self.name,
            at,
            &format!("{item}:edited"),
            Payload::FilesChanged(changed),
        );
        true
    }

    pub(super) fn raw(&self, emit: &mut Emit<'_>) {
        let Some(bytes) = emit.cause.raw else {
            emit.report.repeated += 1;
            return;
        };
        emit.report.count_raw(emit.cause.kind);
        let raw = VendorRaw {
            vendor: VENDOR.to_owned(),
            r#type: clipped(emit.cause.kind, 128),
            media_type: "application/json".to_owned(),
            content: bytes.clone(),
        };
        let turn = self.turns.running().unwrap_or_default();
        let key = format!("raw:{}", emit.cause.id);
        emit.fact(&self.name, At { turn, ..At::default() }, &key, Payload::VendorRaw(raw));
    }

    pub(super) fn stream_lost(&mut self) {
        self.doubtful = true;
        self.absent = None;
        self.items.stream_lost();
    }

    pub(super) fn tick(&mut self, emit: &mut Emit<'_>) {
        if self.turns.tick(emit, &self.name, &mut self.inputs) {
            self.items.turn_ended();
        }
        self.asks.tick(emit, &self.name);
        if let Some(ticks) = self.absent.as_mut() {
            *ticks += 1;
            if *ticks >= ABSENT_TICKS {
                self.absent = None;
                self.gone(emit);
            }
        }
    }

    pub(super) fn agents(&self) -> &str {
        self.facts.agent()
    }

    fn admit(&mut self, emit: &mut Emit<'_>) {
        let speaker = self.speaker();
        let running = self.turns.running().map(str::to_owned);
        self.inputs.admit(emit, &self.name, speaker, running.as_deref());
    }

    fn finish(&mut self, emit: &mut Emit<'_>, over: Over) {
        self.turns.finish(emit, &self.name, &mut self.inputs, over);
        self.items.turn_ended();
    }

    fn withdraw_reason(&self) -> AskWithdrawReason {
        if self.turns.interrupted() {
            AskWithdrawReason::Interrupted
        } else {
            AskWithdrawReason::TurnEnded
        }
    }
}

/// The messages of a record with their parts, in opencode's order.
pub(super) fn messages(record: &Value) -> impl Iterator<Item = (&Value, &[Value])> {
    list(record, "")
        .iter()
        .map(|message| (&message["info"], list(message, "/parts")))
}
