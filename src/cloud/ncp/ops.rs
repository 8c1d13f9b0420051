//! One type for each operation of Cloud DB.

use reqwest::Method;

use super::super::error::{ErrorKind, Failure};
use super::super::limits::Lane;
use super::super::settings::CloudSettings;
use super::super::transport::{Answer, Operation, Payload, Request};
use super::answer::open;
use super::model::{FlushReply, Instance};

/// Instances that a page has at most.
pub(super) const PAGE_SIZE: usize = 100;

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
pub(super) struct Page {
    /// Instances of all pages together, if the cloud says.
    pub(super) total_rows: Option<i64>,
    pub(super) instances: Vec<Instance>,
}

/// `POST /clouddb/v2/flushCloudDBInstance`. The API takes it as GET too, which must never be sent: anything in between
/// may repeat a GET.
pub(super) struct FlushCloudDbInstance<'a> {
    pub(super) no: &'a str,
}

impl Operation for GetCloudDbInstanceList {
    type Output = Page;
    const NAME: &'static str = "getCloudDBInstanceList";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        let page_size = PAGE_SIZE.to_string();
        let mut fields = vec![("dbKindCode", "REDIS".to_owned())];
        match &self.filter {
            Filter::Page(number) => fields.extend([("pageNo", number.to_string()), ("pageSize", page_size)]),
            Filter::Number(no) => fields.push(("cloudDBInstanceNoList.1", no.clone())),
        }
        post(Self::NAME, fields)
    }

    fn max_body(&self, settings: &CloudSettings) -> usize {
        match self.filter {
            Filter::Page(_) => settings.max_list_bytes,
            Filter::Number(_) => settings.max_body_bytes,
        }
    }

    fn decode(&self, answer: &Answer) -> Result<Page, Failure> {
        let body = open(answer, Self::NAME)?.body;
        // A list that is not there must not look like "no instances".
        let instances = match (body.instances, body.total_rows) {
            (Some(instances), _) => instances,
            (None, Some(0)) => Vec::new(),
            (None, _) => {
                let message = "field getCloudDBInstanceListResponse.cloudDBInstanceList is not there";
                return Err(answer.failure(ErrorKind::UnexpectedResponse, message));
            }
        };
        Ok(Page { total_rows: body.total_rows, instances })
    }
}

impl Operation for FlushCloudDbInstance<'_> {
    type Output = FlushReply;
    const NAME: &'static str = "flushCloudDBInstance";
    const LANE: Lane = Lane::Mutation;

    fn request(&self) -> Request {
        post(Self::NAME, vec![("cloudDBInstanceNo", self.no.to_owned())])
    }

    fn decode(&self, answer: &Answer) -> Result<FlushReply, Failure> {
        let reply = open(answer, Self::NAME)?;
        Ok(FlushReply {
            http_status: answer.status,
            trace_id: reply.trace_id,
            return_code: reply.return_code,
            return_message: reply.body.return_message,
            total_rows: reply.body.total_rows,
            instances: reply.body.instances.unwrap_or_default(),
        })
    }
}

fn post(name: &str, fields: Vec<(&'static str, String)>) -> Request {
    let format = ("responseFormatType", "json".to_owned());
    Request {
        method: Method::POST,
        path: ["clouddb", "v2", name].map(str::to_owned).to_vec(),
        payload: Payload::Form(
            fields.into_iter().chain([format]).map(|(key, value)| (key.to_owned(), value)).collect(),
        ),
    }
}
