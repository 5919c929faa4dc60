//! Whose question is next: so many are on their way at once, and teams that wait take turns, however
//! many questions each of them has.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Questions of one team that may wait; those of principals that span teams count as one team's.
const WAITING_MAX: usize = 1024;

/// The places on the way to one address.
#[derive(Debug)]
pub(super) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: HashMap<Arc<str>, VecDeque<oneshot::Sender<()>>>,
    /// The teams that wait, each once; the first is next.
    order: VecDeque<Arc<str>>,
}

/// A place. Dropped, it is the next one's.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

/// The team has too many questions waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

/// One who waits for a place.
struct Waiting<'a> {
    turns: &'a Turns,
    given: oneshot::Receiver<()>,
}

impl Turns {
    pub(super) fn new(places: usize) -> Self {
        Self(Mutex::new(State {
            free: places,
            waiting: HashMap::new(),
            order: VecDeque::new(),
        }))
    }

    /// A place, when it is this team's turn.
    pub(super) async fn wait(&self, team: &str) -> Result<Turn<'_>, Crowded> {
        let given = {
            let mut state = self.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(self));
            }
            state.queue(team)?
        };
        let mut waiting = Waiting { turns: self, given };
        // The sender stays in its queue until it sends.
        (&mut waiting.given).await.map_err(|_| Crowded)?;
        Ok(Turn(self))
    }

    /// A place is free: it goes to the first of the team whose turn it is.
    fn pass_on(&self) {
        let mut state = self.0.lock();
        while let Some(next) = state.next() {
            if next.send(()).is_ok() {
                return;
            }
        }
        state.free += 1;
    }
}

impl State {
    fn queue(&mut self, team: &str) -> Result<oneshot::Receiver<()>, Crowded> {
        let (sender, given) = oneshot::channel();
        if let Some(queue) = self.waiting.get_mut(team) {
            // Those who gave up make room.
            if queue.len() >= WAITING_MAX {
                queue.retain(|waiting| !waiting.is_closed());
            }
            if queue.len() >= WAITING_MAX {
                return Err(Crowded);
            }
            queue.push_back(sender);
            return Ok(given);
        }
        let team: Arc<str> = Arc::from(team);
        self.order.push_back(Arc::clone(&team));
        self.waiting.insert(team, VecDeque::from([sender]));
        Ok(given)
    }

    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        let team = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&team)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&team);
        } else {
            self.order.push_back(team);
        }
        next
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Given up, with the place perhaps just given.
        self.given.close();
        if self.given.try_recv().is_ok() {
            self.turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has one of `team` wait; when it has its turn it says so and gives its place away.
    fn wait(turns: &Arc<Turns>, team: &'static str, said: &Arc<Mutex<Vec<&'static str>>>) {
        let (turns, said) = (Arc::clone(turns), Arc::clone(said));
        tokio::spawn(async move {
            let turn = turns.wait(team).await.expect("room to wait");
            said.lock().push(team);
            drop(turn);
        });
    }

    async fn settle() {
        for _ in 0..3000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn teams_take_turns_however_much_each_of_them_asks() {
        let (turns, said) = (Arc::new(Turns::new(1)), Arc::default());
        let held = turns.wait("a").await.expect("the place is free");
        for _ in 0..100 {
            wait(&turns, "loud", &said);
        }
        settle().await;
        for _ in 0..2 {
            wait(&turns, "quiet", &said);
        }
        settle().await;
        drop(held);
        settle().await;
        let said = said.lock();
        assert_eq!(said.len(), 102);
        assert_eq!(said[..4], ["loud", "quiet", "loud", "quiet"]);
    }

    #[tokio::test]
    async fn a_team_that_has_too_many_waiting_keeps_nobody_else_from_waiting() {
        let turns = Arc::new(Turns::new(1));
        let held = turns.wait("a").await.expect("the place is free");
        let said = Arc::default();
        for _ in 0..WAITING_MAX {
            wait(&turns, "loud", &said);
        }
        settle().await;
        assert_eq!(turns.wait("loud").await.map(drop), Err(Crowded));
        wait(&turns, "quiet", &said);
        settle().await;
        drop(held);
        settle().await;
        assert_eq!(said.lock().len(), WAITING_MAX + 1);
    }

    #[tokio::test]
    async fn a_place_is_never_lost_with_whoever_gives_up() {
        let turns = Arc::new(Turns::new(1));
        let held = turns.wait("a").await.expect("the place is free");
        let waiting = Arc::clone(&turns);
        let gives_up = tokio::spawn(async move { waiting.wait("b").await.map(drop) });
        settle().await;
        // The place is given, and the one who waited is gone before it learns of it.
        drop(held);
        gives_up.abort();
        settle().await;
        assert_eq!(turns.0.lock().free, 1);
        assert!(turns.wait("c").await.is_ok());
    }
}
