//! The pages, over a real socket.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::telemetry::{Latency, Snapshot};
use crate::time::Span;

/// Status line and body of one page.
async fn get_page(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).expect("a status").parse();
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    (status.expect("a number"), body.to_owned())
}

/// Serves pages with a recorder of their own while `scene` runs.
fn with_pages<F: Future<Output = ()>>(scene: impl FnOnce(std::net::SocketAddr, Pages) -> F) {
    let recorder = metric::builder().build_recorder();
    let pages = Pages {
        prometheus: recorder.handle(),
        board: Board::default(),
        readiness: Arc::new(Readiness::starting(&["database", "listeners"])),
        api: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    ::metrics::with_local_recorder(&recorder, || {
        metric::describe();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
            let address = listener.local_addr().expect("an address");
            let (stop, stopped) = oneshot::channel::<()>();
            let served = serve(listener, pages.clone(), async { drop(stopped.await) });
            let scene = async {
                scene(address, pages).await;
                drop(stop);
            };
            let (served, ()) = tokio::join!(served, scene);
            served.expect("served to the end");
        });
    });
}

#[test]
fn readiness_names_what_is_waited_for_until_nothing_is() {
    with_pages(|address, pages| async move {
        assert_eq!(
            get_page(address, "/healthz").await,
            (200, "ok\n".to_owned())
        );
        pages.readiness.ready("listeners");
        pages.readiness.not_ready("database", "no connection");
        let (status, body) = get_page(address, "/readyz").await;
        assert_eq!(status, 503);
        assert_eq!(
            body,
            r#"{"ready":false,"waiting_for":{"database":"no connection"}}"#
        );
        pages.readiness.ready("database");
        let (status, body) = get_page(address, "/readyz").await;
        assert_eq!(
            (status, body.as_str()),
            (200, r#"{"ready":true,"waiting_for":{}}"#)
        );
        assert_eq!(get_page(address, "/other").await.0, 404);
    });
}

#[test]
fn a_scrape_adds_up_what_all_shards_reported_last() {
    with_pages(|address, pages| async move {
        let reporters = [pages.board.reporter(), pages.board.reporter()];
        for round in 1..=2 {
            for reporter in &reporters {
                let mut snapshot = Snapshot::default();
                snapshot.add(&metric::MESSAGES_RECEIVED, &["1"], 10 * round);
                snapshot.add(&metric::CONNECTIONS, &["wss", "alpha"], 3);
                snapshot.routing.observe(Span::from_millis(2), round);
                reporter.report(snapshot);
            }
        }
        metric::AUDIT_WRITTEN.count(&[], 7);
        let (status, page) = get_page(address, "/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "# TYPE cofferdam_messages_received_total counter",
            "cofferdam_messages_received_total{qos=\"1\"} 40",
            "cofferdam_connections{listener=\"wss\",team=\"alpha\"} 6",
            "cofferdam_audit_written_events_total 7",
            &format!(
                "cofferdam_build_info{{version=\"{}\"}} 1",
                env!("CARGO_PKG_VERSION")
            ),
            "# TYPE cofferdam_routing_duration_seconds histogram",
            "cofferdam_routing_duration_seconds_bucket{le=\"0.001\"} 0",
            "cofferdam_routing_duration_seconds_bucket{le=\"0.0025\"} 4",
            "cofferdam_routing_duration_seconds_bucket{le=\"+Inf\"} 4",
            "cofferdam_routing_duration_seconds_sum 0.008000",
            "cofferdam_routing_duration_seconds_count 4",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        // The last connections of a team are gone: the gauge says so.
        for reporter in &reporters {
            reporter.report(Snapshot::default());
        }
        let (_, page) = get_page(address, "/metrics").await;
        assert!(page.contains("cofferdam_connections{listener=\"wss\",team=\"alpha\"} 0\n"));
        assert!(page.contains("cofferdam_messages_received_total{qos=\"1\"} 40\n"));
    });
}

#[test]
fn what_has_no_labels_is_on_the_page_from_the_start_and_once() {
    with_pages(|address, _pages| async move {
        let (_, page) = get_page(address, "/metrics").await;
        for metric in metric::ALL {
            let part = match metric.kind {
                metric::Kind::Histogram => "_count",
                _ => "",
            };
            let line = format!("{}{part} 0", metric.name);
            let found = page.lines().filter(|found| *found == line).count();
            assert_eq!(
                found,
                usize::from(metric.labels.is_empty()),
                "{line}\n{page}"
            );
        }
    });
}

#[test]
fn a_label_cannot_break_out_of_its_line() {
    with_pages(|address, pages| async move {
        let mut snapshot = Snapshot::default();
        snapshot.add(&metric::CONNECTIONS, &["wss", "a\"} 9\nforged 1"], 1);
        pages.board.reporter().report(snapshot);
        let (_, page) = get_page(address, "/metrics").await;
        assert!(
            !page.lines().any(|line| line.starts_with("forged")),
            "{page}"
        );
    });
}

#[test]
fn names_follow_the_conventions_and_are_unique() {
    let mut names: Vec<_> = metric::ALL.iter().map(|metric| metric.name).collect();
    for metric in metric::ALL {
        assert!(metric.name.starts_with("cofferdam_"), "{}", metric.name);
        assert_eq!(
            metric.kind == metric::Kind::Counter,
            metric.name.ends_with("_total"),
            "{}",
            metric.name
        );
        assert!(
            metric.help.ends_with('.') && !metric.help.contains('\\'),
            "{}",
            metric.name
        );
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), metric::ALL.len());
}

#[test]
fn a_duration_is_counted_in_the_bucket_that_holds_it() {
    let cases = [
        (0, "0.000005"),
        (5, "0.000005"),
        (6, "0.00001"),
        (1_000_000, "1"),
        (1_000_001, "+Inf"),
    ];
    for (micros, end) in cases {
        let mut latency = Latency::default();
        let span = crate::time::Time::from_micros(micros).since(crate::time::Time::EPOCH);
        latency.observe(span, 1);
        let mut page = String::new();
        latency.render(&metric::ROUTING_DURATION, &mut page);
        let first = page
            .lines()
            .find(|line| line.contains("_bucket") && line.ends_with(" 1"));
        let wanted = format!("cofferdam_routing_duration_seconds_bucket{{le=\"{end}\"}} 1");
        assert_eq!(first, Some(wanted.as_str()));
    }
}

#[test]
fn every_metric_is_on_the_dashboard_or_in_an_alert() {
    let asked = [
        include_str!("../../config/grafana/dashboards/cofferdam.json"),
        include_str!("../../config/prometheus/alerts.yml"),
    ];
    // For who asks which broker, and which policy, it is.
    let labels = [metric::BUILD_INFO.name, metric::POLICY_SINCE.name];
    for metric in metric::ALL {
        let is_asked = |text: &str| {
            let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            words.any(|word| {
                word == metric.name || word.strip_prefix(metric.name) == Some("_bucket")
            })
        };
        let is_shown = asked.into_iter().any(is_asked);
        assert_ne!(is_shown, labels.contains(&metric.name), "{}", metric.name);
    }
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let asked = [
        include_str!("../../config/grafana/dashboards/cofferdam.json"),
        include_str!("../../config/prometheus/alerts.yml"),
    ];
    let known = |name: &str| {
        let is = |metric: &&metric::Metric| match metric.kind {
            metric::Kind::Histogram => {
                let part = name.strip_prefix(metric.name);
                matches!(part, Some("_bucket" | "_sum" | "_count"))
            }
            _ => metric.name == name,
        };
        metric::ALL.iter().any(is)
    };
    let mut found = 0;
    for text in asked {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("cofferdam_")) {
            assert!(known(name), "{name}");
            found += 1;
        }
    }
    assert!(found > 40, "{found}");
}
