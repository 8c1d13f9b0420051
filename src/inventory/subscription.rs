//! What one subscriber asked for, and what it was last told. Values only.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Urgency;
use super::sight::{Found, Observation, Sight, Want};
use super::snapshot::Snapshot;

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub interval: Duration,
    /// The value of the forced-read annotation that was asked for last.
    pub token: Option<Box<str>>,
    /// The round that the forced read has to reach; 0 if none was asked for.
    pub ticket: u64,
    /// The round that a list must have for its "no" to count: what was listed before somebody asked may be too old.
    pub since: u64,
    /// What the subscriber was last told, without the members of a group.
    told: Option<Observation>,
    /// A number that stands for those members: there can be as many as subscribers times clusters.
    members: u64,
    pub begun: Instant,
}

impl Subscription {
    /// Of a subscriber that was told nothing yet.
    pub fn new(interval: Duration, since: u64, begun: Instant) -> Self {
        Self { interval, token: None, ticket: 0, since, told: None, members: 0, begun }
    }

    /// Notes what is known now; whether, and how urgently, its subscriber is to be woken for it.
    pub fn tell(&mut self, snapshot: &Snapshot, want: &Want) -> Option<Urgency> {
        let was_asked = self.told.as_ref().is_some_and(|told| !told.forced_read_done);
        let is_news = self.note(snapshot.observe(want, self.ticket, self.since));
        is_news.then_some(if was_asked { Urgency::Asked } else { Urgency::Routine })
    }

    /// Notes what the subscriber is told; whether that is news.
    pub fn note(&mut self, mut observation: Observation) -> bool {
        let members = match &mut observation.sight {
            Sight::Members(members) => digest(&std::mem::take(members)),
            _ => 0,
        };
        let is_news = self.members != members || self.told.as_ref() != Some(&observation);
        (self.told, self.members) = (Some(observation), members);
        is_news
    }

    /// Whether the subscriber asked for a fresh read that has not been made.
    pub fn is_asked(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !told.forced_read_done)
    }

    /// Whether what it was told of is on its way to another state.
    pub fn sees_transition(&self) -> bool {
        matches!(&self.told, Some(Observation { sight: Sight::Found(found), .. }) if found.is_transitional())
    }
}

/// A number that nearly always is another if other clusters are members, or something else is known of them; what it misses is
/// seen with the next poll of who follows the group.
fn digest(members: &[Found]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for found in members {
        Arc::as_ptr(&found.picture).hash(&mut hasher);
        (found.state(), found.parameters_read_at.is_some()).hash(&mut hasher);
        found.parameter_group().map(|group| (&group.id, &group.name, &group.sync_status)).hash(&mut hasher);
    }
    (members.len(), hasher.finish()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster_ref::{ClusterStatus, ParameterGroupStatus};
    use crate::cloud::Provider;
    use crate::inventory::picture::Picture;

    fn member(id: &str, word: &str) -> Found {
        let group = ParameterGroupStatus { sync_status: Some(word.to_owned()), ..Default::default() };
        let cluster =
            ClusterStatus { id: Some(id.to_owned()), parameter_group: Some(group), ..ClusterStatus::default() };
        Found::whole(
            Picture { provider: Provider::KakaoCloud, state: Some("Running".to_owned()), cluster, complete: true },
            jiff::Timestamp::UNIX_EPOCH,
        )
    }

    fn members(members: &[&Found]) -> Observation {
        let sight = Sight::Members(members.iter().map(|found| (*found).clone()).collect());
        Observation { sight, problem: None, engine: None, forced_read_done: true }
    }

    #[test]
    fn the_members_of_a_group_are_told_apart_and_not_kept() {
        let mut subscription = Subscription::new(Duration::from_secs(60), 0, Instant::now());
        let (a, b, failing) = (member("a", "In-Sync"), member("b", "In-Sync"), member("b", "Error-Sync"));
        for (seen, is_news) in [
            (members(&[]), true),
            (members(&[]), false),
            (members(&[&a, &b]), true),
            (members(&[&a, &b]), false),
            (members(&[&a, &failing]), true),
            (members(&[&a]), true),
            (members(&[&b]), true),
        ] {
            assert_eq!(subscription.note(seen.clone()), is_news, "{seen:?}");
            assert_eq!(subscription.told.as_ref().map(|told| &told.sight), Some(&Sight::Members(Vec::new())));
        }
    }
}
