//! Errors as a person reads them.

/// An error and its causes in one line, each said once.
///
/// Many errors repeat their cause in their own text. Of what the API server answered only its message is of use: kube shows
/// a dump of the whole Status behind it.
#[must_use]
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let answer = match cause.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) if !status.message.is_empty() => Some(&status.message),
            _ => None,
        };
        let said = answer.cloned().unwrap_or_else(|| cause.to_string());
        if text.is_empty() {
            text = said;
        } else if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        if answer.is_some() {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context as _;
    use kube::core::Status;

    use super::*;

    #[test]
    fn every_cause_is_said_once_and_the_api_server_is_quoted() {
        let read = Err::<(), _>(io::Error::other("no such file")).context("cannot read a.yaml: no such file");
        assert_eq!(describe(&read.unwrap_err()), "cannot read a.yaml: no such file");
        let refused = kube::Error::Api(Status::failure("the name is taken", "AlreadyExists").boxed());
        let error = Err::<(), _>(refused).context("cannot create it").context("the run of seed 7").unwrap_err();
        assert_eq!(describe(&error), "the run of seed 7: cannot create it: the name is taken");
    }
}
