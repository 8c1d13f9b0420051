//! One sample of each message that no kind owns, for the golden file: Secrets, clouds, connections, specs.

use std::time::Duration;

use super::*;
use crate::api::Provider;
use crate::api::TargetError;
use crate::cloud::{CloudError, EndpointMap, EndpointSet, ErrorKind, SetupError};
use crate::controllers::problem::Problem;

/// Each message about a Secret with its name.
pub(in crate::controllers) fn samples() -> Vec<(&'static str, String)> {
    let no_api = kube::Error::Service("client error (Connect)".into());
    let mut all = vec![
        ("secret_missing", secret_missing("ncp", "shop")),
        ("secret_forbidden", secret_forbidden("ncp", "shop")),
        ("secret_unread", secret_unread("ncp", &no_api)),
    ];
    let key = "NCLOUD_SECRET_KEY";
    let unusable = [
        CredentialError::Missing { expected: "NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY" },
        CredentialError::Empty { key },
        CredentialError::LineBreak { key },
        CredentialError::Malformed { key },
    ];
    all.extend(unusable.iter().map(|error| ("secret_unusable", secret_unusable("ncp", error))));
    all
}

/// Each kind of problem with a cloud, as the conditions say it.
pub(in crate::controllers) fn problems() -> Vec<(&'static str, String)> {
    let mut all = of_clouds();
    let unknown = EndpointMap::real(EndpointSet::Ncp).lookup("Mars").unwrap_err();
    let setup = [
        SetupError::Endpoint(unknown),
        SetupError::Settings("the credential is not one of NCP; please report this defect".to_owned()),
        SetupError::Http("no TLS roots".to_owned()),
    ];
    all.extend(setup.iter().map(|error| ("SetupError", Problem::from(error).message)));
    let target = [
        TargetError::NoProvider,
        TargetError::SeveralProviders,
        TargetError::NoRedis("kakaoCloud", "clusterID", "clusterName"),
    ];
    all.extend(target.map(|error| ("TargetError", Problem::from(error).message)));
    all
}

fn of_clouds() -> Vec<(&'static str, String)> {
    let error = |kind, message: &str| CloudError {
        message: message.to_owned(),
        ..CloudError::sample(Provider::KakaoCloud, "listClusters", kind)
    };
    let full = CloudError {
        http_status: Some(401),
        code: Some("200".to_owned()),
        trace_id: Some("7f3a".to_owned()),
        ..error(ErrorKind::CredentialsRejected, "check the application credential")
    };
    let limited = CloudError {
        http_status: Some(429),
        retry_after: Some(Duration::from_secs(30)),
        ..error(ErrorKind::RateLimited, "")
    };
    let kinds = [
        full,
        limited,
        error(ErrorKind::PermissionDenied, "ask the project's owner"),
        error(ErrorKind::NotFound, ""),
        error(ErrorKind::Busy, ""),
        error(ErrorKind::BadRequest, "limit is too large"),
        error(ErrorKind::Unavailable, "no connection could be made (connection refused)"),
        error(ErrorKind::UnexpectedResponse, "it sent an HTML page"),
    ];
    kinds.iter().map(|error| ("CloudError", Problem::from(error).message)).collect()
}
