//! The limit of open files, and how it is shared between watches, the admin server and the rest. Each watch and each request has a
//! connection of its own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

use crate::runtime::watches::Watches;

/// Concurrent connections to the admin server, if there are enough files.
const ADMIN: u64 = 64;
/// Files for everything but watches: requests to the API server and the clouds, the admin server, the process itself.
const OTHERS: u64 = 256;

/// How the files are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileBudget {
    /// Connections to the admin server.
    pub admin: usize,
    /// Watches.
    watches: usize,
}

impl FileBudget {
    /// The budget of this many files; none if there is no limit.
    pub(crate) fn of(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        let watches = limit - (limit / 2).min(OTHERS);
        let admin = (limit / 8).clamp(1, ADMIN);
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self { admin: whole(admin), watches: whole(watches) }
    }

    /// A sentence, if there are not enough files for one watch per kind and namespace (0 namespaces are all of them in one watch).
    fn shortage(&self, limit: u64, kinds: usize, namespaces: usize) -> Option<String> {
        let wanted = u64::try_from(kinds.saturating_mul(namespaces.max(1))).unwrap_or(u64::MAX);
        let are_enough = usize::try_from(wanted).is_ok_and(|wanted| wanted <= self.watches);
        let needed = wanted + OTHERS.min(wanted.max(32));
        (!are_enough).then(|| {
            format!(
                "the limit of {limit} open files is too low for the {wanted} watches of {namespaces} namespaces, so only \
                 {watches} watches are open and the objects of the other namespaces are not seen. Raise the hard limit (ulimit -Hn, \
                 LimitNOFILE) to {needed} or more, or watch all namespaces",
                watches = self.watches,
            )
        })
    }
}

/// Raises the limit as far as it is allowed, and warns if that is not enough.
pub(crate) fn prepare(watches: &Watches, kinds: usize, namespaces: usize) -> FileBudget {
    let limit = raise();
    let budget = FileBudget::of(limit);
    if let Some(sentence) = limit.and_then(|limit| budget.shortage(limit, kinds, namespaces)) {
        warn!("{sentence}");
        watches.limit(budget.watches, sentence);
    }
    budget
}

/// Raises the soft limit to the hard one. Returns the limit that holds afterwards.
fn raise() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        debug!(%error, "the limit of open files could not be raised");
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_files_left_for_what_is_no_watch() {
        assert_eq!(FileBudget::of(None).admin, 64);
        assert_eq!(FileBudget::of(Some(1 << 20)), FileBudget { admin: 64, watches: (1 << 20) - 256 });
        assert_eq!(FileBudget::of(Some(1024)), FileBudget { admin: 64, watches: 768 });
        assert_eq!(FileBudget::of(Some(64)), FileBudget { admin: 8, watches: 32 });
        for limit in 1..5000 {
            let FileBudget { admin, watches } = FileBudget::of(Some(limit));
            assert!(limit < 8 || u64::try_from(admin + watches).unwrap() <= limit, "{limit}");
        }
    }

    #[test]
    fn a_shortage_is_told_with_numbers() {
        assert_eq!(FileBudget::of(Some(1024)).shortage(1024, 3, 0), None, "all namespaces are three watches");
        assert_eq!(FileBudget::of(Some(1024)).shortage(1024, 3, 256), None);
        let told = FileBudget::of(Some(1024)).shortage(1024, 3, 300).unwrap();
        assert!(told.contains("1024 open files") && told.contains("900 watches of 300 namespaces"), "{told}");
        assert!(told.contains("only 768 watches"), "{told}");
        let needed: u64 = told.split("LimitNOFILE) to ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!(FileBudget::of(Some(needed)).shortage(needed, 3, 300), None, "as much as it says is enough");
    }
}
