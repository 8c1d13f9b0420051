//! One type for each operation of Cloud DB.

use reqwest::Method;

use super::super::error::{ErrorKind, Failure, MAX_MESSAGE_CHARS, MAX_WORD_CHARS};
use super::super::limits::Lane;
use super::super::list::{Keys, Reader, Row};
use super::super::redact::Redactor;
use super::super::response::Response;
use super::super::split::RawEntry;
use super::super::transport::{Operation, Refuse, Request, RequestPayload};
use super::model::{CloudDbInstance, FlushReply};
use super::response::{LIST, Reply, parse};

/// Instances that a page has at most.
pub(super) const PAGE_SIZE: usize = 100;
/// What identifies an instance.
const KEYS: Keys = Keys { id: "cloudDBInstanceNo", name: "cloudDBServiceName" };

/// `POST /clouddb/v2/getCloudDBInstanceList`: a read, sent as POST so that its form is not signed.
pub(super) struct GetCloudDbInstanceList {
    pub(super) filter: Filter,
}

pub(super) enum Filter {
    /// One page of all, from 1.
    Page(u32),
    /// One instance by its number.
    Number(String),
}

/// A part of the list.
#[derive(Debug)]
pub(super) struct Page {
    /// Instances of all pages together, if the cloud says.
    pub(super) total_rows: Option<i64>,
    pub(super) instances: Vec<Row<CloudDbInstance>>,
}

/// `POST /clouddb/v2/flushCloudDBInstance`. The API takes it as GET too, which must never be sent: anything in between
/// may repeat a GET.
pub(super) struct FlushCloudDbInstance<'a> {
    pub(super) no: &'a str,
}

/// The instances of an answer that have come so far.
#[derive(Default)]
pub(super) struct Rows {
    reader: Reader,
    rows: Vec<Row<CloudDbInstance>>,
}

impl Rows {
    fn take_in(&mut self, raw: RawEntry<'_>, refuse: Refuse<'_>) {
        let row = match self.reader.read::<CloudDbInstance>(raw, KEYS, refuse) {
            // An instance without a number belongs to no subscriber.
            Row::Read(CloudDbInstance { no: None, service_name, .. }) => {
                let message = || format!("field {} is not there", KEYS.id);
                self.reader.unreadable(None, service_name, refuse, message)
            }
            row => row,
        };
        self.rows.push(row);
    }

    /// The rows of an answer, also of one in XML, whose list is read now; none if it has no list.
    fn of(
        mut self,
        response: &Response,
        reply: &mut Reply,
        refuse: Refuse<'_>,
    ) -> Result<Option<Vec<Row<CloudDbInstance>>>, Failure> {
        let rows = reply
            .rows()
            .map_err(|problem| response.failure(ErrorKind::UnexpectedResponse, format!("field {LIST}: {problem}")))?;
        for row in rows.iter().flatten().take(PAGE_SIZE + 1) {
            self.take_in(RawEntry { json: row.to_string().as_bytes(), is_cut: false }, refuse);
        }
        Ok(rows.map(|_| self.rows))
    }
}

impl Rows {
    /// The rows in the response to a flush, if there are any; a single one outside of a list is a row too.
    fn of_flush(mut self, reply: &mut Reply, refuse: Refuse<'_>) -> Vec<Row<CloudDbInstance>> {
        for row in reply.rows_of_any_kind().iter().take(PAGE_SIZE) {
            self.take_in(RawEntry { json: row.to_string().as_bytes(), is_cut: false }, refuse);
        }
        self.rows
    }
}

fn too_many_rows() -> Failure {
    Failure::unexpected(format!("the page has more than the {PAGE_SIZE} instances that were asked for"))
}

impl Operation for GetCloudDbInstanceList {
    type Output = Page;
    type Entries = Rows;
    const NAME: &'static str = "getCloudDBInstanceList";
    const LANE: Lane = Lane::Read;
    const LIST: Option<(&'static str, usize)> = Some((LIST, 2));

    fn request(&self) -> Request {
        let page_size = PAGE_SIZE.to_string();
        let mut fields = vec![("dbKindCode", "REDIS".to_owned())];
        match &self.filter {
            Filter::Page(number) => fields.extend([("pageNo", number.to_string()), ("pageSize", page_size)]),
            Filter::Number(no) => fields.push(("cloudDBInstanceNoList.1", no.clone())),
        }
        post(Self::NAME, fields)
    }

    fn entry(&self, rows: &mut Rows, raw: RawEntry<'_>, refuse: Refuse<'_>) -> Result<(), Failure> {
        if rows.rows.len() >= PAGE_SIZE {
            return Err(too_many_rows());
        }
        rows.take_in(raw, refuse);
        Ok(())
    }

    fn decode(&self, response: &Response, rows: Rows, refuse: Refuse<'_>) -> Result<Page, Failure> {
        let mut reply = parse(response, Self::NAME)?;
        let unexpected = |message: String| response.failure(ErrorKind::UnexpectedResponse, message);
        let total_rows = reply.total_rows().map_err(|problem| unexpected(format!("field totalRows: {problem}")))?;
        // A list that is not there must not look like "no instances".
        let instances = match (rows.of(response, &mut reply, refuse)?, total_rows) {
            (Some(instances), _) if instances.len() > PAGE_SIZE => return Err(too_many_rows()),
            (Some(instances), _) => instances,
            (None, Some(0)) => Vec::new(),
            (None, _) => return Err(unexpected(format!("field {LIST} is not there"))),
        };
        Ok(Page { total_rows, instances })
    }
}

impl Operation for FlushCloudDbInstance<'_> {
    type Output = FlushReply;
    type Entries = Rows;
    const NAME: &'static str = "flushCloudDBInstance";
    const LANE: Lane = Lane::Mutation;
    const LIST: Option<(&'static str, usize)> = Some((LIST, 2));

    fn request(&self) -> Request {
        post(Self::NAME, vec![("cloudDBInstanceNo", self.no.to_owned())])
    }

    fn entry(&self, rows: &mut Rows, raw: RawEntry<'_>, refuse: Refuse<'_>) -> Result<(), Failure> {
        if rows.rows.len() < PAGE_SIZE {
            rows.take_in(raw, refuse);
        }
        Ok(())
    }

    /// Return code 0 means accepted, even if other fields are odd or missing; but not in a response about another instance only.
    fn decode(&self, response: &Response, rows: Rows, refuse: Refuse<'_>) -> Result<FlushReply, Failure> {
        let mut reply = parse(response, Self::NAME)?;
        let total_rows = reply.total_rows().unwrap_or_default();
        let rows = rows.of_flush(&mut reply, refuse);
        let number = |row: &Row<CloudDbInstance>| match row {
            Row::Read(instance) => instance.no.clone(),
            Row::Unreadable(unreadable) => unreadable.id.clone(),
        };
        let numbers: Vec<String> = rows.iter().filter_map(number).collect();
        if let Some(other) = numbers.first().filter(|_| numbers.iter().all(|no| no != self.no)) {
            let message = format!("the answer is about another instance, {other}");
            return Err(response.failure(ErrorKind::UnexpectedResponse, message));
        }
        Ok(FlushReply {
            http_status: response.status,
            return_message: reply.return_message(),
            trace_id: reply.trace_id,
            return_code: reply.return_code,
            total_rows,
            instances: rows.into_iter().filter_map(Row::ok).collect(),
        })
    }

    fn redact<'r>(reply: &mut FlushReply, redactor: impl FnOnce() -> &'r Redactor) {
        let redactor = redactor();
        reply.trace_id = reply.trace_id.take().and_then(|trace| redactor.word(&trace, MAX_WORD_CHARS));
        reply.return_message = reply.return_message.take().and_then(|said| redactor.word(&said, MAX_MESSAGE_CHARS));
    }
}

fn post(name: &str, fields: Vec<(&'static str, String)>) -> Request {
    let format = ("responseFormatType", "json".to_owned());
    Request {
        method: Method::POST,
        path: ["clouddb", "v2", name].map(str::to_owned).to_vec(),
        payload: RequestPayload::Form(
            fields.into_iter().chain([format]).map(|(key, value)| (key.to_owned(), value)).collect(),
        ),
    }
}

#[cfg(test)]
#[path = "ops_tests.rs"]
mod tests;
