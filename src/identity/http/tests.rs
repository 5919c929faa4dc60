//! The hook against a server that answers when the test says so.

use std::net::Ipv4Addr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::policy::Action;

const YES: &str = "{\"result\":\"allow\"}";

/// The other side.
struct Server(TcpListener);

/// A question that was heard.
struct Heard {
    stream: TcpStream,
    body: Value,
}

impl Server {
    async fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        Self(listener.expect("a port"))
    }

    fn hook(&self, connections: u16, deadline: Span) -> Arc<Hook> {
        let address = self.0.local_addr().expect("an address");
        let uri: http::Uri = format!("http://{address}/").parse().expect("an address");
        let config = config::Hook {
            style: Style::Emqx,
            authenticate: Some(uri.clone()),
            authorize: Some(uri),
            ask: Ask::Always,
            deadline,
            cache: Span::from_secs(60),
            cache_refusals: Span::from_secs(60),
            cache_entries: 1000,
            connections,
            ca: None,
            report_topics: vec![],
            report_every: Span::from_secs(60),
        };
        Hook::new(&config).expect("a hook").0
    }

    async fn hear(&self) -> Heard {
        let (mut stream, _) = self.0.accept().await.expect("a connection");
        let mut bytes = Vec::new();
        loop {
            let read = stream.read_buf(&mut bytes).await.expect("a question");
            assert!(read > 0, "it went away");
            let text = String::from_utf8_lossy(&bytes);
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
            if let Some(Ok(body)) = body.map(serde_json::from_str) {
                return Heard { stream, body };
            }
        }
    }
}

impl Heard {
    async fn answer(mut self, body: &str) {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = self.stream.write_all(answer.as_bytes()).await;
        sent.expect("it waits");
    }
}

/// Until nobody can go on without the server.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

fn log_in(hook: &Arc<Hook>, team: &str) {
    let (hook, team) = (Arc::clone(hook), team.to_owned());
    tokio::spawn(async move {
        let login = Login {
            username: &team,
            password: "x",
            client_id: "x",
        };
        hook.login(&login, &team).await
    });
}

#[tokio::test]
async fn teams_that_strangers_invent_do_not_come_before_one_that_there_is() {
    let server = Server::open().await;
    let hook = server.hook(1, Span::from_secs(600));
    log_in(&hook, "real");
    server.hear().await.answer(YES).await;
    settle().await;
    log_in(&hook, "invented");
    let on_its_way = server.hear().await;
    for stranger in 0..50 {
        log_in(&hook, &format!("invented{stranger}"));
    }
    settle().await;
    log_in(&hook, "real");
    settle().await;
    on_its_way.answer("{\"result\":\"deny\"}").await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        let heard = server.hear().await;
        asked.push(heard.body["username"].clone());
        heard.answer("{\"result\":\"deny\"}").await;
    }
    assert_eq!(asked, ["invented0", "real", "invented1"]);
}

#[tokio::test]
async fn a_silence_counts_only_where_there_was_time_to_answer() {
    let server = Server::open().await;
    let hook = server.hook(1, Span::from_millis(20));
    let endpoint = hook.authorize.as_ref().expect("one");
    for _ in 0..50 {
        let late = Instant::now() + Duration::from_millis(2);
        let asked = endpoint.ask("t", b"{}", late).await;
        assert!(matches!(asked, Err(Failure::Crowded)), "{asked:?}");
        assert!(!endpoint.is_down());
    }
    for _ in 0..5 {
        let in_time = Instant::now() + Duration::from_millis(200);
        let asked = endpoint.ask("t", b"{}", in_time).await;
        assert!(matches!(asked, Err(Failure::Timeout)), "{asked:?}");
    }
    assert!(endpoint.is_down());
}

#[tokio::test]
async fn a_report_that_is_answered_with_nonsense_is_no_answer_to_others() {
    let server = Server::open().await;
    let hook = server.hook(2, Span::from_secs(600));
    let question = Question::about("u@t", "c", Action::Publish, "t");
    let (asking, asked) = (Arc::clone(&hook), question.clone());
    let answer = tokio::spawn(async move { asking.answer(&asked).await });
    let waiting = server.hear().await;
    let reporting = tokio::spawn(async move { hook.report(&question).await });
    server.hear().await.answer("{}").await;
    assert!(!reporting.await.expect("no panic"));
    waiting.answer(YES).await;
    let answer = answer.await.expect("no panic");
    assert!(matches!(answer, Answer::Yes(_)), "{answer:?}");
}
