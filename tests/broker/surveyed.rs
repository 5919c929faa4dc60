//! What stands on a shard, read page by page.

use std::collections::BTreeSet;

use crate::cluster::*;
use cofferdam::broker::{Found, Wanted};
use cofferdam::policy::TeamId;

/// Everything on one shard that is wanted, and in how many pages.
fn survey(cluster: &Cluster, wanted: &Wanted) -> (Vec<Found>, usize) {
    let (mut found, mut pages, mut next) = (Vec::new(), 0, Some(0));
    while let Some(from) = next {
        let page = cluster.survey(0, from, wanted);
        assert!(page.next.is_none_or(|next| next > from), "it goes on");
        found.extend(page.sessions);
        next = page.next;
        pages += 1;
    }
    (found, pages)
}

#[test]
fn a_session_is_found_with_what_it_subscribed_to_and_published() {
    let cluster = Cluster::new(1);
    let alice = cluster.connect(0, client("alice@alpha"));
    alice.subscribe("$share/g/a/#", QOS_0);
    alice.subscribe("b", QOS_0);
    alice.publish("x/1", "1");
    alice.publish("x/2", "2");
    let (found, _) = survey(&cluster, &Wanted::default());
    let [found] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(&*found.key.username, "alice@alpha");
    assert_eq!(found.grant.team().map(TeamId::as_str), Some("alpha"));
    assert!(found.connected);
    let subscriptions: BTreeSet<_> = found.subscriptions.iter().map(|it| &**it).collect();
    assert_eq!(
        subscriptions,
        BTreeSet::from(["$share/g/ff/v1/alpha/c/a/#", "ff/v1/alpha/c/b"])
    );
    let published: BTreeSet<_> = found.published.iter().map(|it| &**it).collect();
    assert_eq!(published, BTreeSet::from(["x/1", "x/2"]));
}

#[test]
fn only_what_is_wanted_is_found() {
    let cluster = Cluster::new(1);
    let _one = cluster.connect(0, client("alice@alpha"));
    let _two = cluster.connect(0, client("alice@beta"));
    let gone = cluster.connect(0, client("bob@alpha").kept(60));
    gone.cut();
    let names = |wanted: Wanted| {
        let (found, _) = survey(&cluster, &wanted);
        let mut names: Vec<_> = found.iter().map(|it| it.key.username.to_string()).collect();
        names.sort();
        names
    };
    let team = TeamId::new("alpha");
    assert_eq!(names(Wanted::default()).len(), 3);
    let connected = Wanted {
        connected: true,
        ..Wanted::default()
    };
    assert_eq!(names(connected), ["alice@alpha", "alice@beta"]);
    let of_team = Wanted {
        team: team.clone(),
        ..Wanted::default()
    };
    assert_eq!(names(of_team), ["alice@alpha", "bob@alpha"]);
    let one = Wanted {
        client_id: Some("bob@alpha".into()),
        team,
        ..Wanted::default()
    };
    assert_eq!(names(one), ["bob@alpha"]);
}

#[test]
fn many_sessions_come_in_pages_and_each_once() {
    let cluster = Cluster::new(1);
    let clients: Vec<_> = (0..60)
        .map(|number| {
            let client = cluster.connect(0, instance("alpha", "a1").id(&format!("c{number}")));
            for filter in 0..100 {
                client.subscribe(&format!("ff/v1/alpha/c/{filter}"), QOS_0);
            }
            client
        })
        .collect();
    let (found, pages) = survey(&cluster, &Wanted::default());
    assert_eq!(pages, 2, "some 6000 texts");
    let ids: BTreeSet<_> = found
        .iter()
        .map(|it| it.key.client_id.to_string())
        .collect();
    assert_eq!((found.len(), ids.len()), (clients.len(), clients.len()));
}
