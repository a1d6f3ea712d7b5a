//! Those who did nothing wrong, and are to notice nothing of those who did.

use bellboard_proto::v1;
use bellboard_tests::client::Client;
use bellboard_tests::events::{from_now, on, session, text};
use bellboard_tests::process::{DataDir, Process, key};
use bellboard_tests::stream::Frames;

/// The session that they follow, and nobody else.
const CALM: &str = "calm";
/// How many of them share a connection.
const TOGETHER: usize = 20;

/// People who follow a calm session, of a principal of their own.
pub(super) struct Bystanders {
    client: Client,
    streams: Vec<Frames>,
    said: usize,
}

impl Bystanders {
    /// So many, who have caught up.
    pub(super) async fn of(data: &DataDir, hub: &Process, count: usize) -> Bystanders {
        let key = key(data, &["--principal", "bystander", "--scope", "read,publish"]).await;
        let client = Client::new(&hub.url, Some(&key));
        client.append(vec![on(CALM).opens("calm")]).await;
        let mut streams = Vec::new();
        while streams.len() < count {
            let shared = Client::new(&hub.url, Some(&key));
            for _ in 0..TOGETHER.min(count - streams.len()) {
                let mut stream = shared
                    .subscribe(from_now(vec![session(CALM, v1::Detail::Content)]))
                    .await;
                stream.caught_up().await;
                streams.push(stream);
            }
        }
        Bystanders {
            client,
            streams,
            said: 0,
        }
    }

    /// Says ten things: each of them hears every one, once and in order. Where the hub shows metrics and all others are quiet, nobody was
    /// woken or given anything beside them.
    ///
    /// # Panics
    /// When somebody noticed something.
    pub(super) async fn unharmed(&mut self, hub: &Process) {
        self.unharmed_beside(hub, 0).await;
    }

    /// The same where so many others follow everything.
    pub(super) async fn unharmed_beside(&mut self, hub: &Process, others: usize) {
        let before = match hub.metrics_url {
            Some(_) => Some(hub.metrics().await),
            None => None,
        };
        let said: Vec<String> = (self.said..self.said + 10).map(|number| number.to_string()).collect();
        for words in &said {
            self.client.say(CALM, words).await;
        }
        self.said += said.len();
        for stream in &mut self.streams {
            let heard: Vec<String> = stream.events(said.len()).await.iter().map(text).collect();
            assert_eq!(heard, said);
        }
        let Some(before) = before else { return };
        let after = hub.metrics().await;
        let more = |name: &str| after.get(name) - before.get(name);
        let most = (said.len() * (self.streams.len() + others)) as f64;
        assert_eq!(more("deliveries_total"), most, "they alone were given what they follow");
        assert!(
            more("wakeups_total") <= most,
            "{} were woken, not {most}",
            more("wakeups_total")
        );
        assert!(
            more("slots_visited_total") <= most,
            "what others said was not looked at for them"
        );
    }
}
