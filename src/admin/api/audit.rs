//! `/audit`: what is on record, a page or all of it, for the operator and for readers of one team.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Query;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Api;
use super::gate::Caller;
use super::problem::Problem;
use crate::audit::{Cursor, Export, Filter, Format, Level, PAGE_MAX, Scope, Way, page, parse_time};
use crate::database::{Database, DatabaseError};

/// Records of a page where nothing is said.
const PAGE: u32 = 100;
/// Pieces of an export that may wait for a slow reader.
const PIECES: usize = 2;

/// What the query may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    team: Option<String>,
    level: Option<Level>,
    event: Option<String>,
    client: Option<String>,
    username: Option<String>,
    address: Option<String>,
    since: Option<String>,
    until: Option<String>,
    order: Option<Order>,
    cursor: Option<String>,
    limit: Option<u32>,
    format: Option<As>,
    region: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Newest,
    Oldest,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum As {
    Jsonl,
    Csv,
}

type Question = Result<Query<Asked>, axum::extract::rejection::QueryRejection>;

pub(super) async fn show(
    api: Api,
    Extension(caller): Extension<Caller>,
    query: Question,
) -> Result<Json<Value>, Problem> {
    let asked = asked(query)?;
    let filter = asked.filter(&api)?;
    let cursor = asked.cursor.as_deref().map(str::parse::<Cursor>);
    let cursor = cursor.transpose().map_err(Problem::malformed)?;
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::malformed(format!("limit is 1 to {PAGE_MAX}")));
    }
    let way = match asked.order {
        Some(Order::Oldest) => Way::Forward,
        _ => Way::Backward,
    };
    let database = asked.database(&api, &caller.scope)?;
    let found = page(database, &caller.scope, &filter, way, cursor, limit).await;
    let found = found.map_err(away)?;
    let records: Vec<_> = found.records.iter().map(|it| it.to_json()).collect();
    let next = found.next.map(|next| next.to_string());
    Ok(Json(json!({ "records": records, "next": next })))
}

pub(super) async fn export(
    api: Api,
    Extension(caller): Extension<Caller>,
    query: Question,
) -> Result<Response, Problem> {
    let asked = asked(query)?;
    let (format, media) = match asked.format {
        Some(As::Csv) => (Format::Csv, "text/csv; charset=utf-8"),
        _ => (Format::JsonLines, "application/jsonl"),
    };
    let filter = asked.filter(&api)?;
    let database = asked.database(&api, &caller.scope)?.clone();
    let mut export = Export::new(database, caller.scope, filter, format);
    let first = export.next().await.map_err(away)?;
    let (pieces, receiving) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let mut piece = Ok(first);
        loop {
            let is_last = !matches!(piece, Ok(Some(_)));
            let sent = match piece {
                Ok(None) => return,
                Ok(Some(text)) => pieces.send(Ok(Bytes::from(text))).await,
                // The answer is cut off, so that nobody takes a part for the whole.
                Err(error) => pieces.send(Err(std::io::Error::other(error))).await,
            };
            if sent.is_err() || is_last {
                return;
            }
            piece = export.next().await;
        }
    });
    let media = HeaderValue::from_static(media);
    let body = Body::new(Pieces(receiving));
    Ok(([(header::CONTENT_TYPE, media)], body).into_response())
}

fn asked(query: Question) -> Result<Asked, Problem> {
    query
        .map(|Query(asked)| asked)
        .map_err(|error| Problem::malformed(error.body_text()))
}

impl Asked {
    /// Where the records are: a team's where its region is, and a reader chooses nothing.
    fn database<'a>(&self, api: &'a Api, scope: &Scope) -> Result<&'a Database, Problem> {
        let mut regions = api.regions.iter();
        let of_team = |team: &String| {
            let found = api
                .regions
                .iter()
                .find(|(region, _)| region.teams.contains(team));
            found.map_or(&api.database, |(_, database)| database)
        };
        Ok(match (scope, &self.region, &self.team) {
            (Scope::Team(team), _, _) => of_team(team),
            (Scope::All, Some(name), _) => {
                let found = regions.find(|(region, _)| region.name == *name);
                let found = found.map(|(_, database)| database);
                found.ok_or_else(|| Problem::malformed(format!("there is no region {name:?}")))?
            }
            (Scope::All, None, Some(team)) => of_team(team),
            (Scope::All, None, None) => &api.database,
        })
    }

    fn filter(&self, api: &Api) -> Result<Filter, Problem> {
        let now = api.clock.now();
        let time = |text: &Option<String>| {
            let parsed = text.as_deref().map(|text| parse_time(text, now));
            parsed.transpose().map_err(Problem::malformed)
        };
        let names = api.names.as_ref();
        let name = |name: &Option<String>| {
            let name = name.as_ref()?;
            Some(names.map_or_else(|| name.clone(), |names| names.name(name)))
        };
        let mut filter = Filter {
            team: self.team.clone(),
            level: self.level,
            event: self.event.clone(),
            client_id: name(&self.client),
            actor: name(&self.username),
            since: time(&self.since)?,
            until: time(&self.until)?,
            ..Filter::default()
        };
        if let Some(address) = &self.address {
            filter.from(address, names).map_err(Problem::malformed)?;
        }
        Ok(filter)
    }
}

fn away(error: DatabaseError) -> Problem {
    tracing::warn!(%error, "the audit store cannot be read");
    let title = "The audit store does not answer";
    let detail = "try again later; GET /readyz says what the broker waits for";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store-away", title, detail)
}

/// A body whose pieces come one by one.
struct Pieces(mpsc::Receiver<std::io::Result<Bytes>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
