//! A network between a client and the hub that can be cut, or go silent without saying so.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// It carries.
    Fair,
    /// What is sent is lost, and nobody is told: a phone asleep, a cable pulled.
    Silent,
    /// The same, and what is dialled meanwhile is silent, too.
    Dead,
    /// Connections break, and new ones are refused.
    Cut,
}

/// A proxy on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    weather: Arc<watch::Sender<Weather>>,
    upstream: watch::Sender<String>,
    dials: watch::Receiver<u64>,
}

impl Proxy {
    /// In front of the hub at this address.
    pub async fn before(hub_url: &str) -> Proxy {
        let (upstream, hub) = watch::channel(address(hub_url));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let weather = Arc::new(watch::Sender::new(Weather::Fair));
        let (dialled, dials) = watch::channel(0);
        let watched = weather.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *watched.borrow() == Weather::Cut {
                    continue;
                }
                dialled.send_modify(|dials| *dials += 1);
                let address = hub.borrow().clone();
                let Ok(hub) = TcpStream::connect(&address).await else {
                    continue;
                };
                let weather = watched.subscribe();
                let lost = *weather.borrow() == Weather::Dead;
                tokio::spawn(carry(client, hub, weather, lost));
            }
        });
        Proxy {
            url,
            weather,
            upstream,
            dials,
        }
    }

    /// Carries again, to a hub at another address.
    pub fn move_to(&self, hub_url: &str) {
        self.upstream.send_replace(address(hub_url));
        self.mend();
    }

    /// Breaks all connections and refuses new ones.
    pub fn cut(&self) {
        self.weather.send_replace(Weather::Cut);
    }

    /// Carries nothing over the connections that are there, without breaking them. New ones are carried.
    pub fn silence(&self) {
        self.weather.send_replace(Weather::Silent);
    }

    /// Carries nothing more, over new connections neither, and breaks none.
    pub fn die(&self) {
        self.weather.send_replace(Weather::Dead);
    }

    /// Carries again.
    pub fn mend(&self) {
        self.weather.send_replace(Weather::Fair);
    }

    /// Waits until it has been dialled so often.
    pub async fn dialled(&mut self, times: u64) {
        let dialled = self.dials.wait_for(|dials| *dials >= times);
        crate::within("a client to dial", dialled)
            .await
            .expect("the proxy lives");
    }
}

fn address(hub_url: &str) -> String {
    hub_url.trim_start_matches("http://").to_owned()
}

/// Carries both ways. A connection that is `lost` stays so for ever: nobody told either end.
async fn carry(mut client: TcpStream, mut hub: TcpStream, mut weather: watch::Receiver<Weather>, mut lost: bool) {
    let (mut from_client, mut from_hub) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            // What was sent after the weather changed is under the new one.
            biased;
            changed = weather.changed() => match changed.map(|()| *weather.borrow_and_update()) {
                Ok(Weather::Fair) => {}
                Ok(Weather::Silent | Weather::Dead) => lost = true,
                Ok(Weather::Cut) | Err(_) => return,
            },
            read = client.read(&mut from_client) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if lost => {}
                Ok(count) => if hub.write_all(&from_client[..count]).await.is_err() { return },
            },
            read = hub.read(&mut from_hub) => match read {
                Ok(0) | Err(_) if !lost => return,
                Ok(0) | Err(_) => std::future::pending().await,
                Ok(_) if lost => {}
                Ok(count) => if client.write_all(&from_hub[..count]).await.is_err() { return },
            },
        }
    }
}
