//! `GET /v1/views` lists the views; `GET /v1/views/{v}` gives rows of one, as of one commit.
//!
//! `ETag` is the commit that changed the view last, and the view's version: who has it gets `304`. `Headway-Seq` is the commit
//! that the answer is as of, `Headway-Watermark` how far event time had come, `Headway-From` where the first day begins that
//! is not sealed.
//!
//! Rows leave in pieces of [`PIECE_BYTES`], made when the client takes them: an answer of any size holds pointers, no copies.

use crate::serve::encode::{csv_line, instant, json_row, json_text, plain};
use crate::serve::feed::{Moment, Served, described};
use crate::serve::live::Live;
use crate::serve::problem::{Code, Problem};
use crate::serve::query::{Form, Query, Selected, pairs};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use headway_operators::spec::ViewSpec;
use headway_operators::time::EventTime;
use headway_operators::view::row::ViewRow;
use http_body::Frame;
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// About how large a piece of an answer is.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// A search that looks at more rows runs beside the thread that answers.
const ROWS_AT_ONCE: usize = 16 << 10;

/// Lists the views.
pub(crate) async fn list(State(live): State<Arc<Live>>) -> Response {
    let Some(moment) = live.feed.newest() else { return Problem::not_begun().into_response() };
    let view = |(spec, table): (&ViewSpec, &Served)| {
        json!({
            "name": spec.name,
            "about": spec.about,
            "version": spec.version,
            "rows": table.rows.len(),
            "key": spec.columns.iter().take(spec.key).map(|column| &column.name).collect::<Vec<_>>(),
            "columns": described(&spec.columns),
            "changed": table.changed.to_string(),
        })
    };
    let answer = json!({
        "schema_version": 1,
        "seq": moment.id.seq(),
        "id": moment.id.to_string(),
        "watermark": known(moment.watermark),
        "views": live.feed.specs.iter().zip(&moment.tables).map(view).collect::<Vec<_>>(),
    });
    (as_of(&moment), [(header::CONTENT_TYPE, "application/json")], format!("{answer}\n")).into_response()
}

/// Gives rows of a view.
pub(crate) async fn show(
    State(live): State<Arc<Live>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    answer(&live, &name, &query.unwrap_or_default(), &headers).await.unwrap_or_else(Problem::into_response)
}

async fn answer(live: &Live, name: &str, query: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let moment = live.feed.newest().ok_or_else(Problem::not_begun)?;
    let view = find(&live.feed.specs, name)?;
    let spec = &live.feed.specs[view];
    let refuse = |error: String| {
        let hint = "A view is asked by limit, order, where and format: /v1/views/VIEW?where=COLUMN=VALUE&order=-COLUMN&limit=10";
        Problem::new(Code::QueryInvalid, error).hint(hint)
    };
    let query = pairs(query).and_then(|pairs| Query::read(&pairs, &spec.columns)).map_err(refuse)?;
    let etag = format!("\"{}.{}\"", moment.tables[view].changed, spec.version);
    let mut about = as_of(&moment);
    about.insert(header::ETAG, HeaderValue::from_str(&etag).expect("it is plain text"));
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|known| has(known, &etag)) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let selected = select(&moment, view, &query).await?;
    let body = match query.form {
        Form::Parquet => parquet(selected.rows, spec.clone(), &moment).await?,
        form => Body::new(Pieces::new(form, spec, selected, &moment)),
    };
    about.insert(header::CONTENT_TYPE, HeaderValue::from_static(query.form.kind()));
    Ok((about, body).into_response())
}

/// The number of the view `name`.
pub(crate) fn find(specs: &[ViewSpec], name: &str) -> Result<usize, Problem> {
    specs.iter().position(|spec| spec.name == name).ok_or_else(|| {
        let known: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
        let hint = match known.as_slice() {
            [] => "The job has no views: start it with --views.".to_string(),
            known => format!("There are: {}.", known.join(", ")),
        };
        Problem::new(Code::ViewUnknown, format!("there is no view \"{}\"", name.escape_debug())).hint(hint)
    })
}

/// True if a header of ETags has `etag`, or stands for all.
fn has(known: &HeaderValue, etag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == etag)
}

/// What an answer is as of.
fn as_of(moment: &Moment) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut insert = |name: &'static str, value: String| {
        headers.insert(name, HeaderValue::from_str(&value).expect("numbers and instants are plain text"));
    };
    insert("headway-seq", moment.id.seq().to_string());
    known(moment.watermark).into_iter().for_each(|watermark| insert("headway-watermark", watermark));
    moment.from.into_iter().for_each(|from| insert("headway-from", instant(from)));
    headers
}

/// An instant; `None` before the first record.
pub(crate) fn known(time: EventTime) -> Option<String> {
    (time > EventTime::MIN).then(|| instant(time))
}

async fn select(moment: &Arc<Moment>, view: usize, query: &Query) -> Result<Selected, Problem> {
    let rows = &moment.tables[view].rows;
    if query.cost(rows) <= ROWS_AT_ONCE {
        return Ok(query.select(rows));
    }
    let (moment, query) = (Arc::clone(moment), query.clone());
    beside(move || query.select(&moment.tables[view].rows)).await
}

/// Runs `work` on the thread beside this one; others wait for their turn.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Problem::new(Code::AnswerFailed, "the answer could not be made"))
}

#[cfg(feature = "parquet")]
async fn parquet(rows: Vec<Arc<ViewRow>>, spec: ViewSpec, moment: &Moment) -> Result<Body, Problem> {
    let notes = vec![
        ("headway.seq".to_string(), moment.id.seq().to_string()),
        ("headway.view_version".to_string(), spec.version.to_string()),
    ];
    let write = move || {
        let mut file = Vec::new();
        crate::connect::formats::parquet::write(&rows, &spec.columns, &notes, &mut file).map(|()| file)
    };
    let failed =
        |error| Problem::new(Code::AnswerFailed, format!("the rows cannot be written as Parquet: {error}"));
    Ok(Body::from(beside(write).await?.map_err(failed)?))
}

#[cfg(not(feature = "parquet"))]
async fn parquet(_rows: Vec<Arc<ViewRow>>, _spec: ViewSpec, _moment: &Moment) -> Result<Body, Problem> {
    Err(Problem::new(Code::QueryInvalid, "this build has no Parquet"))
}

/// Rows in pieces.
struct Pieces {
    form: Form,
    columns: Vec<headway_operators::row::Column>,
    rows: std::vec::IntoIter<Arc<ViewRow>>,
    /// What comes before the rows, until it is sent.
    head: Option<Vec<u8>>,
    /// What comes after them, until it is sent.
    tail: Option<Vec<u8>>,
    is_first: bool,
}

impl Pieces {
    fn new(form: Form, spec: &ViewSpec, selected: Selected, moment: &Moment) -> Pieces {
        let Selected { rows, has_more } = selected;
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        match form {
            Form::Json => {
                head.extend_from_slice(b"{\"schema_version\":1,\"view\":");
                json_text(&mut head, spec.name);
                let about = json!({ "id": moment.id.to_string(), "watermark": known(moment.watermark) });
                let (seq, about) = (moment.id.seq(), about.to_string());
                head.extend_from_slice(format!(",\"seq\":{seq},{}", &about[1..about.len() - 1]).as_bytes());
                head.extend_from_slice(format!(",\"more\":{has_more},\"rows\":[").as_bytes());
                tail.extend_from_slice(b"]}\n");
            }
            Form::Csv => csv_line(&mut head, spec.columns.iter().map(|column| column.name.as_bytes())),
            Form::Ndjson | Form::Parquet => {}
        }
        let (columns, rows) = (spec.columns.clone(), rows.into_iter());
        Pieces { form, columns, rows, head: Some(head), tail: Some(tail), is_first: true }
    }

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = self.head.take().unwrap_or_default();
        while piece.len() < PIECE_BYTES {
            let Some(row) = self.rows.next() else {
                piece.extend(self.tail.take().unwrap_or_default());
                break;
            };
            match self.form {
                Form::Csv => csv_line(&mut piece, row.0.iter().map(plain)),
                Form::Json | Form::Ndjson | Form::Parquet => {
                    if self.form == Form::Json && !self.is_first {
                        piece.push(b',');
                    }
                    json_row(&mut piece, &self.columns, &row);
                    if self.form == Form::Ndjson {
                        piece.push(b'\n');
                    }
                }
            }
            self.is_first = false;
        }
        (!piece.is_empty()).then(|| Bytes::from(piece))
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece))))
    }
}
