//! How long one watch may last.

/// Seconds that a watch lasts if there are few of them. A watch that outlives its time by 5 s is given up (`watch`), so one that went
/// silent is replaced within 25 s, even if a proxy in between acknowledges every byte.
const SECONDS: u32 = 20;
/// Seconds by which watches last longer for each namespace that is watched by itself, so that the rate at which watches begin does
/// not grow with the number of namespaces.
const SECONDS_FOR_EACH: u32 = 2;
/// kube and client-go ask for no longer watches.
const LONGEST: u32 = 290;

/// `timeoutSeconds` of the watches of a kind, if there are `parts` of them. The next watch goes on where the last one ended, from the
/// API server's watch cache, without a list.
pub(crate) fn seconds(parts: usize) -> u32 {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    parts.saturating_mul(SECONDS_FOR_EACH).clamp(SECONDS, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_watches_last_longer() {
        let wanted = [(0, 20), (1, 20), (10, 20), (11, 22), (100, 200), (145, 290), (1000, 290), (usize::MAX, 290)];
        for (parts, wanted) in wanted {
            assert_eq!(seconds(parts), wanted, "{parts}");
        }
    }
}
