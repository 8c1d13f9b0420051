//! How long one watch may last.

/// A watch of a few lasts so long, in seconds. One that outlives its time by 5 s is given up (`watch`), so a watch that went silent
/// is begun anew within 25 s, even if something in between acknowledges every byte.
const SECONDS: u32 = 20;
/// Each namespace that is watched by itself adds three watches. They last so long for each namespace, in seconds: however
/// many there are, no more than three watches begin in this time.
const SECONDS_FOR_EACH: u32 = 2;
/// kube and client-go ask for no more than this.
const LONGEST: u32 = 290;

/// `timeoutSeconds` of the watches of a kind, if there are `parts` of them. A watch that ends is begun again where it ended,
/// from the API server's watch cache: nothing is listed.
pub fn seconds(parts: usize) -> u32 {
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
