//! Tasks that have a name and an owner.
//!
//! Believe this: dropping [`Tasks`] ends every task in it, and a task that panicked is told by name to whoever asks [`Tasks::ended`].

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

/// Some tasks of one owner.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A task that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub name: &'static str,
    /// How it ended.
    pub how: How,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It returned, or its owner ended it.
    Finished,
    /// It panicked: a promise inside is broken.
    Panicked,
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits for the first task to end; none when there is no task. Cancel safe.
    pub async fn ended(&mut self) -> Option<Ended> {
        let (id, how) = match self.set.join_next_with_id().await? {
            Ok((id, ())) => (id, How::Finished),
            Err(error) if error.is_panic() => (error.id(), How::Panicked),
            Err(error) => (error.id(), How::Finished),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        Some(Ended { name, how })
    }

    /// Ends all tasks and waits until they are gone, with everything they held.
    pub async fn stop(&mut self) {
        self.set.shutdown().await;
        self.names.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_told_by_name() {
        let mut tasks = Tasks::default();
        tasks.spawn("patient", std::future::pending());
        tasks.spawn("hasty", async { panic!("on purpose") });
        let ended = tasks.ended().await.unwrap();
        assert_eq!((ended.name, ended.how), ("hasty", How::Panicked));
    }

    #[tokio::test]
    async fn a_stopped_task_has_let_go_of_what_it_held() {
        let held = std::sync::Arc::new(());
        let inside = held.clone();
        let mut tasks = Tasks::default();
        tasks.spawn("holder", async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        tasks.stop().await;
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
        assert_eq!(tasks.ended().await, None);
    }
}
